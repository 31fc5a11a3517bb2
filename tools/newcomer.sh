#!/usr/bin/env bash
# What a newcomer does: the installed program in an empty directory, data of their own, a table, and a model of their own.
#
#   tools/newcomer.sh             installs target/release into a temporary directory first
#   tools/newcomer.sh PREFIX      uses what is installed there
#
# Each command must succeed. The data are made here: text ids, and times as pandas writes them.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
prefix=${1:-}
if [ -z "$prefix" ]; then
    prefix=$place/prefix
    python3 "$root/tools/dist.py" install "$prefix" >/dev/null
fi
mkdir "$place/home" "$place/study"
cd "$place/study"
# Nothing of this machine: no variables, no data sets, no checkout above.
assay() {
    env -i PATH=/usr/bin:/bin HOME="$place/home" "$prefix/bin/assay" "$@" 2>"$place/errors" || {
        code=$?
        echo "assay $* ends with $code:" >&2
        cat "$place/errors" >&2
        return $code
    }
}
refused() {
    if assay "$@" >/dev/null 2>&1; then
        echo "assay $* is not refused" >&2
        exit 1
    fi
}

python3 - <<'PYTHON'
import datetime
import random

random.seed(1)
day = datetime.datetime(2024, 1, 1)
with open("ratings.csv", "w") as file:
    file.write("customer,sku,stars,when\n")
    for user in range(120):
        taste = user % 4
        own = random.sample(range(taste, 80, 4), 14)
        others = random.sample([item for item in range(80) if item % 4 != taste], 8)
        for item in own + others:
            stars = random.choice([4, 5]) if item in own else random.choice([1, 2, 3, 4])
            day += datetime.timedelta(seconds=random.random() * 5000)
            file.write(f"c-{user:03},SKU {item:02}/x,{stars},{day}\n")
PYTHON

assay init >/dev/null
refused init
assay run experiment.yaml --quiet >/dev/null

cat > mine.yaml <<'YAML'
experiment: mine
data:
  reader: table
  ratings: ratings.csv
  columns: {user: customer, item: sku, rating: stars, timestamp: when}
  relevant: ">= 4"
split: {scheme: kfold, folds: 5}
seeds: [1, 2]
systems:
  random: {model: random}
  popularity: {use: baselines/popularity.yaml}
  item-knn: {use: baselines/item-knn.yaml}
  als: {use: baselines/als.yaml, regularization: 1, factors: {sweep: [8, 16]}}
  bprmf: {use: baselines/bprmf.yaml, training: {epochs: 3}}
evaluate: {k: [10]}
YAML
assay plan mine.yaml >/dev/null
assay run mine.yaml --quiet > table.txt
grep -q 'als\[factors=16\]' table.txt
grep -q 'Mean over 5 folds' table.txt
assay table mine.yaml --format latex | grep -q toprule
assay compare mine.yaml >/dev/null

# A model of one's own: by hand on the files that `split` writes, and as a command.
assay split mine.yaml --out folds >/dev/null
test ! -e folds/f1/test.csv
cp "$root/examples/popularity.py" .
for fold in f1 f2 f3 f4 f5; do
    python3 popularity.py --train folds/$fold/train.csv --users folds/$fold/users.csv --out theirs-$fold.csv
done
sed -e 's/^experiment: .*/experiment: both/' -e '/^evaluate/d' mine.yaml > both.yaml
cat >> both.yaml <<'YAML'
  theirs: {model: external, rankings: "theirs-{fold}.csv"}
  command:
    model: command
    run: "python3 popularity.py --train {train} --users {users} --out {out} --depth {depth}"
    inputs: [popularity.py]
evaluate: {k: [10]}
YAML
refused run both.yaml --quiet
assay run both.yaml --quiet --allow-commands >/dev/null
assay results both.yaml > results.csv
python3 - <<'PYTHON'
import csv

rows = [row for row in csv.DictReader(open("results.csv")) if row["metric"] == "ndcg" and row["fold"] == "mean"]
ndcg = {row["system"]: float(row["value"]) for row in rows}
assert ndcg["theirs"] == ndcg["command"] == ndcg["popularity"], ndcg
assert ndcg["als[factors=16]"] > 2 * ndcg["random"], ndcg
print("newcomer: " + ", ".join(f"{system} {value:.4f}" for system, value in ndcg.items()))
PYTHON
