#!/usr/bin/env python3
"""Recall@20 and nDCG@20 on the test part after epochs of a training that is under way, computed apart from assay.

    ASSAY_CHECKPOINT_SECONDS=0 assay run experiments/yelp2018-graphs.yaml --only xsimgcl --workspace DIR &
    python3 tools/curve_by_epoch.py DIR/scratch DATA/yelp2018 MODEL [EPOCH …] >> curve.csv

For lightgcn, sgl and xsimgcl. It copies the vectors of each checkpoint of the only training in DIR as it appears, propagates
them over the training graph and ranks all items but those of training, as the LightGCN authors' code does: means over test users,
nDCG with the ideal of min(20, number of test items). With epochs only those are evaluated. Nothing is chosen by these numbers:
the settings, and the epochs of a run, are fixed before. It needs numpy and scipy, and ends when the checkpoint is gone.
"""

import json
import pathlib
import sys
import time

import numpy as np
import scipy.sparse as sparse

K, LAYERS = 20, 3


def read(path):
    users, items = [], []
    for line in path.read_text().splitlines():
        user, *of_user = map(int, line.split())
        users += [user] * len(of_user)
        items += of_user
    return np.array(users), np.array(items)


def checkpoint(path):
    """The memory of a training, and its vectors. A checkpoint is a file of safetensors with a hash behind it, which the
    package of that name does not read."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    nodes = header["value.nodes"]
    begin, end = nodes["data_offsets"]
    vectors = np.frombuffer(content[start + begin:start + end], {"F32": np.float32, "F64": np.float64}[nodes["dtype"]])
    return json.loads(header["__metadata__"]["memory"]), vectors.reshape(nodes["shape"])


class Evaluator:
    def __init__(self, folder, with_input):
        (users, items), (test_users, test_items) = read(folder / "train.txt"), read(folder / "test.txt")
        self.n_users = max(users.max(), test_users.max()) + 1
        n_items = max(items.max(), test_items.max()) + 1
        self.with_input = with_input
        by_user = lambda users, items: sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), (self.n_users, n_items))
        self.train, self.test = by_user(users, items), by_user(test_users, test_items)
        square = sparse.bmat([[None, self.train], [self.train.T, None]]).tocsr()
        scale = sparse.diags(1 / np.sqrt(np.maximum(square.sum(1).A1, 1)))
        self.graph = (scale @ square @ scale).astype(np.float32).tocsr()

    def __call__(self, nodes):
        layers = [nodes]
        for _ in range(LAYERS):
            layers.append(self.graph @ layers[-1])
        rows = np.mean(layers if self.with_input else layers[1:], axis=0)
        users, items = rows[:self.n_users], rows[self.n_users:]
        discount = 1 / np.log2(np.arange(2, K + 2))
        asked = np.flatnonzero(np.diff(self.test.indptr))
        recall = ndcg = 0.0
        for start in range(0, len(asked), 256):
            some = asked[start:start + 256]
            scores = users[some] @ items.T
            known = self.train[some]
            scores[np.repeat(np.arange(len(some)), np.diff(known.indptr)), known.indices] = -np.inf
            top = np.argpartition(-scores, K, axis=1)[:, :K]
            order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1)
            top = np.take_along_axis(top, order, 1)
            for user, ranked in zip(some, top):
                liked = self.test.indices[self.test.indptr[user]:self.test.indptr[user + 1]]
                hits = np.isin(ranked, liked)
                recall += hits.sum() / len(liked)
                ndcg += discount[hits].sum() / discount[:min(K, len(liked))].sum()
        return recall / len(asked), ndcg / len(asked)


def main():
    scratch, folder, model = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    only = {int(epoch) for epoch in sys.argv[4:]}
    evaluate = Evaluator(folder, model != "xsimgcl")
    done, seen = 0, False
    while True:
        found = list(scratch.rglob("checkpoint.safetensors"))
        if seen and not found:
            return
        for path in found:
            seen = True
            try:
                memory, nodes = checkpoint(path)
            except OSError:
                continue
            if memory["epochs"] > done:
                done = memory["epochs"]
                if not only or done in only:
                    recall, ndcg = evaluate(nodes)
                    print(f"{model},{done},{memory['seconds']:.0f},{recall:.5f},{ndcg:.5f}", flush=True)
        time.sleep(2)


main()
