"""Made-up data of tools/audit_twins.py: ratings, lists, texts, repositories and a chat model that judges."""

import collections
import contextlib
import hashlib
import http.server
import json
import pathlib
import random
import subprocess
import threading

FEWEST = 20


def ratings(seed, users, items, groups, taste=0.85, spelled=0, times=0):
    """Ratings of users who have tastes: most of a user's items are of their group. `spelled`: ids as numbers, words or with
    leading zeros, in random order. `times`: 0 for none, else how users' times lie."""
    draws = random.Random(seed)
    names = list(range(1, items + 1))
    draws.shuffle(names)
    spell = [str, lambda at: f"item {at}", lambda at: f"{at:05}"][spelled]
    weights = [1 / (1 + at // groups) ** 0.4 for at in range(items)]
    lines = ["user,item,rating" + (",time" if times else "")]
    for user in range(users):
        own = [item for item in range(items) if item % groups == user % groups]
        n = min(len(own) - 2, 14 + draws.randrange(8))
        chosen = {}
        while len(chosen) < n:
            of = own if draws.random() < taste else range(items)
            [item] = draws.choices(of, [weights[item] for item in of])
            is_own = item % groups == user % groups
            chosen.setdefault(item, draws.choice([4, 5, 5]) if is_own else draws.choice([1, 2, 3]))
        order = list(chosen)
        draws.shuffle(order)
        # All at once, one after another, in bursts, or over the whole span.
        start = 1_000_000 + [0, 900 * user, 40_000 * (user % 5), draws.randrange(200_000)][times - 1] if times else 0
        for at, item in enumerate(order):
            time = start + at * 15_000 + draws.randrange(9_000)
            lines.append(f"{user + 1},{spell(names[item])},{chosen[item]}" + (f",{time}" if times else ""))
    return "\n".join(lines) + "\n"


def table(at):
    """A training part, a test part and lists: of other lengths, shares of relevant items, and ways to say the order."""
    draws = random.Random(1000 + at)
    users, items = 60 + 5 * at, 300 + 10 * at
    depth, found = [10, 12, 15, 20][at % 4], [0.0, 0.2, 0.4, 0.6, 0.75][at % 5]
    names = list(range(1, items + 1))
    draws.shuffle(names)
    train, test, lists = ["user,item"], ["user,item"], ["user,item,rank" if at % 3 else "user,item,score"]
    for user in range(1, users + 1):
        known = set(draws.sample(names, 10 + at % 7))
        rest = [name for name in names if name not in known]
        tested = draws.sample(rest, 3 + at % 3)
        kept = [item for item in tested if draws.random() < found]
        others = draws.sample([item for item in rest if item not in tested], depth - len(kept))
        order = kept + others
        draws.shuffle(order)
        train += [f"{user},{item}" for item in sorted(known)]
        test += [f"{user},{item}" for item in tested]
        lists += [f"{user},{item},{rank if at % 3 else 100.5 - rank}" for rank, item in enumerate(order, 1)]
    return ["\n".join(of) + "\n" for of in (train, test, lists)]


def user_texts(sample):
    """Name, settings and file of profiles that know nothing of the test part of f1."""
    rows = [line.split(",") for line in (sample / "ratings.csv").read_text().splitlines()[1:]]
    titles = dict(line.split(",")[:2] for line in (sample / "items.csv").read_text().splitlines()[1:])
    train, users = collections.defaultdict(list), sorted({row[0] for row in rows}, key=int)
    popular = collections.Counter()
    for user, item, rating, _, fold in rows:
        if fold != "f1":
            train[user].append((float(rating), titles[item]))
            popular[titles[item]] += 1
    best = [title for title, _ in popular.most_common()]
    found = [("template", "from: template", None), ("metadata", "from: metadata", None)]

    def say(name, text):
        lines = "".join(f'{user},"{text(user, random.Random(int(user)))}"\n' for user in users)
        found.append((name, "from: file, file: users.csv, id: user, text: text, built_from: f1", "user,text\n" + lines))

    liked = lambda user, least: [title for rating, title in train[user] if rating >= least]
    say("all training titles", lambda user, _: "; ".join(liked(user, 0)))
    say("liked titles", lambda user, _: f"Likes {', '.join(liked(user, 4))}.")
    say("favourites", lambda user, _: f"Loves {', '.join(liked(user, 5)[:3])}.")
    say("disliked titles", lambda user, _: f"Avoids {', '.join(title for rating, title in train[user] if rating <= 2)}.")
    say("titles in upper case", lambda user, _: ", ".join(liked(user, 4)).upper())
    say("a title many times", lambda user, _: " and ".join((liked(user, 0) or ["nothing"])[:1] * 20))
    say("nothing", lambda user, _: "A person of whom nothing is known.")
    say("numbers", lambda user, _: f"User {user} with {len(train[user])} ratings.")
    for n in (1, 3, 10):
        say(f"the {n} most popular titles", lambda user, _, n=n: ", ".join(best[:n]))
        say(f"{n} titles at random", lambda user, draws, n=n: ", ".join(draws.sample(best, n)))
    for n in (1, 5):
        say(f"training titles and {n} at random", lambda user, draws, n=n: ", ".join(liked(user, 4) + draws.sample(best, n)))
    say("rare titles", lambda user, draws: ", ".join(draws.sample(best[-50:], 4)))
    say("words of titles", lambda user, draws: " ".join(word[: len(word) // 2 + 1] for title in draws.sample(best, 6) for word in title.split()))
    say("prose", lambda user, draws: f"They go to the cinema {draws.choice(['often', 'rarely', 'with friends'])} and dislike {draws.choice(['noise', 'crowds', 'late hours'])}.")
    say("a neighbour's titles", lambda user, draws: ", ".join(title for _, title in train[draws.choice(users)][:5]))
    return found


def review_rows(at):
    """Users with reviews that are all different for each of them."""
    users, items, n = 30 + 4 * at, 25 + at, 5 + at % 4
    words = ["fine", "good", "great", "loud", "solid", "cheap", "heavy", "light", "bright"]
    lines = ["user,item,time,text"]
    for user in range(users):
        for step in range(n):
            text = [
                f"text {step} of {user}",
                # The same few words of many users, each once a user.
                words[(user + step) % len(words)],
                f"{words[step % 9]} " * (3 + step),
                f"{'Very ' * step}{words[user % 9]}",
                f"{words[step]} as {user % 3} others said",
            ][at % 5]
            lines.append(f"{user},{(user * (1 + at % 3) + step) % items},{step},{text.strip()}")
    return "\n".join(lines) + "\n"


def git_histories(files):
    """Names, and functions that make a directory with these files whose repository has them at its revision."""

    def git(path, *arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *identity, *arguments], cwd=path, check=True, capture_output=True)

    def write(path, more=()):
        path.mkdir(parents=True, exist_ok=True)
        for name, text in [*files.items(), *more]:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)

    def repository(path, more=(), ignored=".assay\nreports\n", below="."):
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "-q")
        (path / ".gitignore").write_text(ignored)
        write(path / below, more)
        git(path, "add", ".")
        git(path, "commit", "-qm", "first")
        return path / below

    def after(*commands, **options):
        def prepare(path):
            place = repository(path, **options)
            for command in commands:
                git(path, *command)
            return place
        return prepare

    def bare(path):
        write(path)
        return path

    def clone(*options):
        def prepare(path):
            repository(path / "origin")
            git(path, "clone", "-q", *options, f"file://{path / 'origin'}", "copy")
            return path / "copy"
        return prepare

    def worktree(path):
        repository(path / "origin")
        git(path / "origin", "worktree", "add", "-q", "-b", "other", str(path / "tree"))
        return path / "tree"

    def ignored_files(path):
        place = repository(path, ignored=".assay\nreports\n*.log\nscratch\n")
        (place / "run.log").write_text("started\n")
        (place / "scratch").mkdir()
        (place / "scratch/notes.txt").write_text("to do\n")
        return place

    def touched(path):
        place = repository(path)
        (place / "r.csv").write_text(files["r.csv"])
        return place

    def reverted(path):
        place = repository(path)
        (place / "e.yaml").write_text("# something else\n")
        git(path, "checkout", "-q", "--", "e.yaml")
        return place

    def amended(path):
        place = repository(path)
        (place / "README").write_text("read\n")
        git(path, "add", ".")
        git(path, "commit", "-q", "--amend", "-m", "again")
        return place

    def renamed(path):
        place = repository(path, more=[("notes.txt", "a\n")])
        git(path, "mv", "notes.txt", "other.txt")
        git(path, "commit", "-qm", "second")
        return place

    def stashed(path):
        place = repository(path)
        (place / "r.csv").write_text("user,item\n")
        git(path, "stash", "-q")
        return place

    def merged(path):
        place = repository(path)
        git(path, "checkout", "-qb", "side")
        (place / "side.txt").write_text("a\n")
        git(path, "add", ".")
        git(path, "commit", "-qm", "side")
        git(path, "checkout", "-q", "main")
        git(path, "merge", "-q", "--no-ff", "-m", "merge", "side")
        return place

    return [
        ("no repository", bare),
        ("one commit", after()),
        ("many commits", after(*(("commit", "-q", "--allow-empty", "-m", str(at)) for at in range(5)))),
        ("another branch", after(("checkout", "-qb", "feature/x"))),
        ("detached head", after(("checkout", "-q", "--detach"))),
        ("a tag", after(("tag", "v1"))),
        ("an annotated tag", after(("tag", "-a", "v1", "-m", "one"))),
        ("packed objects", after(("gc", "-q"))),
        ("below the root", after(below="papers/one")),
        ("a path with blanks", after(below="my papers/one")),
        ("other committed files", after(more=[("notes.txt", "a\n"), ("src/main.py", "print()\n")])),
        ("a clone", clone()),
        ("a shallow clone", clone("--depth", "1")),
        ("a worktree", worktree),
        ("ignored files", ignored_files),
        ("a file written again as it was", touched),
        ("a change taken back", reverted),
        ("an amended commit", amended),
        ("a renamed file", renamed),
        ("a stash", stashed),
        ("a merge", merged),
    ]


@contextlib.contextmanager
def chat_server(liked=None):
    """A chat model that judges by a hash of title and user, or by what users like, and never by the order shown."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            text = "\n".join(message["content"] for message in body["messages"])
            visitor = text.split("Visitor ")[-1].split("x")[0] if "Visitor " in text else ""
            shown = [line[1:].split("] ", 1) for line in text.splitlines() if line.startswith("[") and "] " in line]
            salt = body["model"]

            def value(title):
                if liked is not None:
                    return 99.0 if title in liked[visitor] else 10.0
                return int(hashlib.sha256(f"{salt} {title}".encode()).hexdigest()[:6], 16) / 2**24 * 100

            values = {id: value(title) for id, title in shown}
            order = sorted(values, key=lambda id: (-values[id], id))
            if '"better"' in text:
                content = {"better": order[0]}
            elif '"scores"' in text:
                content = {"scores": [{"id": id, "score": round(values[id], 2)} for id in values]}
            else:
                content = {"order": order}
            reply = {
                "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(content)}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
