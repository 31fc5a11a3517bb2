#!/usr/bin/env python3
"""Writes tests/golden/{p4r,reviewgnn}.safetensors: inputs, outputs, losses and every gradient in float64.

    python3 tools/pin_text_graphs.py

Neither system has released code that can be had. Both are written out here from their equations with dense matrices and
PyTorch's autograd: P4R from eq. 5 and 6 of Chen and Suzumura 2024 (arXiv 2409.16674), ReviewGNN from the layers of Kanezashi
et al. 2025 (arXiv 2504.02195); what the second paper does not print is marked so in src/tasks/top_n/models/review_gnn.rs.
Needs torch.
"""

import json
import pathlib
import struct

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

ROOT = pathlib.Path(__file__).resolve().parent.parent
USERS, ITEMS, DIM, TEXT = 12, 17, 16, 5
NODES = USERS + ITEMS


def save(name, tensors):
    header, blob = {}, b""
    for key, value in tensors.items():
        value = value.detach().contiguous()
        kind = {torch.float64: "F64", torch.int64: "I64"}[value.dtype]
        data = value.numpy().tobytes()
        header[key] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    path = ROOT / f"tests/golden/{name}.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head + blob)
    print(f"{path.relative_to(ROOT)}: {len(tensors)} tensors, {path.stat().st_size:,} bytes")


def interactions():
    """Item 16 and user 11 have none."""
    pairs = [(u, i) for u in range(USERS - 1) for i in range(ITEMS - 1) if (u * 7 + i * i + u * i) % 4 == 1]
    matrix = torch.zeros(USERS, ITEMS)
    for u, i in pairs:
        matrix[u, i] = 1
    return pairs, matrix


def batch(pairs, seed):
    generator = torch.Generator().manual_seed(seed)
    known = set(pairs)
    users, positives, negatives = [], [], []
    for u, i in pairs[::2]:
        while True:
            j = int(torch.randint(ITEMS, (1,), generator=generator))
            if (u, j) not in known:
                break
        users.append(u)
        positives.append(USERS + i)
        negatives.append(USERS + j)
    return [torch.tensor(of) for of in (users, positives, negatives)]


def bpr(out, users, positives, negatives):
    return -F.logsigmoid((out[users] * (out[positives] - out[negatives])).sum(1)).mean()


def both_directions(pairs):
    edges = [(u, USERS + i) for u, i in pairs] + [(USERS + i, u) for u, i in pairs]
    return torch.tensor(edges).T.contiguous()


def inverse(x, power):
    return torch.where(x > 0, x, torch.ones_like(x)) ** -power


def p4r():
    pairs, matrix = interactions()
    torch.manual_seed(1)
    golden = {"edge_index": both_directions(pairs)}
    golden["text"] = torch.randn(ITEMS, TEXT)
    # An item without a text.
    golden["text"][3] = 0
    present = (golden["text"] != 0).any(1, keepdim=True).to(torch.float64)
    golden["pos_user"], golden["pos_item"], golden["neg_item"] = nodes = batch(pairs, 2)
    alpha, beta, layers = 0.8, 1.7, 2
    # R~: 1 / (sqrt|N_u| sqrt|N_i|) of each pair.
    of_users, of_items = inverse(matrix.sum(1), 0.5), inverse(matrix.sum(0), 0.5)
    normal = of_users[:, None] * matrix * of_items[None, :]
    for fusion in ["paper", "init", "concat", "none"]:
        for pooling in ["sum", "mean"]:
            users = torch.randn(USERS, DIM, requires_grad=True)
            items = torch.randn(ITEMS, DIM // 2 if fusion == "concat" else DIM, requires_grad=True)
            wide = DIM // 2 if fusion == "concat" else DIM
            weight = (0.5 * torch.randn(wide, TEXT)).requires_grad_()
            bias = (0.3 * torch.randn(wide)).requires_grad_()
            s = F.relu(golden["text"] @ weight.T + bias) * present
            if fusion == "init":
                e_items = items + beta * s
            elif fusion == "concat":
                e_items = torch.cat([items, beta * s], 1)
            else:
                e_items = items
            e_users, sums = users, [users, e_items]
            for _ in range(layers):
                # Eq. 5: what comes from each neighbour is e_u + beta * e_s of the item itself.
                from_users = normal.T @ e_users
                if fusion == "paper":
                    from_users = from_users + beta * normal.sum(0)[:, None] * s
                e_users, e_items = normal @ e_items, alpha * from_users
                sums = [sums[0] + e_users, sums[1] + e_items]
            out = torch.cat(sums)
            if pooling == "mean":
                out = out / (layers + 1)
            loss = bpr(out, *nodes)
            named = {"users": users, "items": items}
            if fusion != "none":
                named |= {"project.weight": weight, "project.bias": bias}
            grads = torch.autograd.grad(loss, list(named.values()))
            at = f"{fusion}.{pooling}"
            golden[f"{at}.out"], golden[f"{at}.loss"] = out, loss.reshape(1)
            for (name, value), grad in zip(named.items(), grads):
                golden[f"{at}.param.{name}"], golden[f"{at}.grad.{name}"] = value, grad
    save("p4r", golden)


def reviewgnn():
    pairs, matrix = interactions()
    torch.manual_seed(3)
    golden = {"edge_index": both_directions(pairs)}
    golden["pos_user"], golden["pos_item"], golden["neg_item"] = nodes = batch(pairs, 4)
    # Two of three purchases have a review.
    reviewed = [pair for at, pair in enumerate(pairs) if at % 3 != 1]
    golden["review_pairs"] = torch.tensor(reviewed)
    texts = torch.randn(len(reviewed), TEXT)
    golden["texts"] = texts
    review_matrix = torch.zeros(USERS, ITEMS)
    row_of = {pair: row for row, pair in enumerate(reviewed)}
    for u, i in reviewed:
        review_matrix[u, i] = 1
    share = 0.7

    def weights(matrix, symmetric):
        """(to users from items, to items from users)"""
        if symmetric:
            normal = inverse(matrix.sum(1), 0.5)[:, None] * matrix * inverse(matrix.sum(0), 0.5)[None, :]
            return normal, normal.T
        return matrix * inverse(matrix.sum(0), 1)[None, :], matrix.T * inverse(matrix.sum(1), 1)[None, :]

    for norm in ["neighbour", "symmetric"]:
        for mse in ["product", "ends", "off", "none"]:
            for pooling in ["last", "sum"] if mse == "product" else ["last"]:
                named = {
                    "nodes": torch.randn(NODES, DIM),
                    "0.purchase": 0.4 * torch.randn(DIM, DIM),
                    "1.purchase": 0.4 * torch.randn(DIM, DIM),
                }
                has_reviews = mse != "none"
                if has_reviews:
                    named |= {
                        "1.review": 0.4 * torch.randn(DIM, 2 * DIM),
                        "project.weight": 0.5 * torch.randn(DIM, TEXT),
                        "project.bias": 0.3 * torch.randn(DIM),
                    }
                named = {name: value.requires_grad_() for name, value in named.items()}
                to_users, to_items = weights(matrix, norm == "symmetric")
                h = named["nodes"]
                users, items = h[:USERS], h[USERS:]
                w = named["0.purchase"]
                users1, items1 = F.relu(to_users @ (items @ w.T)), F.relu(to_items @ (users @ w.T))
                w = named["1.purchase"]
                users2, items2 = to_users @ (items1 @ w.T), to_items @ (users1 @ w.T)
                if has_reviews:
                    h_r = torch.tanh(texts @ named["project.weight"].T + named["project.bias"])
                    w = named["1.review"]
                    to_users, to_items = weights(review_matrix, norm == "symmetric")
                    more_users, more_items = [torch.zeros(DIM)] * USERS, [torch.zeros(DIM)] * ITEMS
                    for (u, i), row in row_of.items():
                        more_users[u] = more_users[u] + to_users[u, i] * (w @ torch.cat([items1[i], h_r[row]]))
                        more_items[i] = more_items[i] + to_items[i, u] * (w @ torch.cat([users1[u], h_r[row]]))
                    users2, items2 = users2 + torch.stack(more_users), items2 + torch.stack(more_items)
                out = torch.cat([F.relu(users2), F.relu(items2)])
                if pooling == "sum":
                    out = h + torch.cat([users1, items1]) + out
                of_bpr = bpr(out, *nodes)
                loss, of_mse = of_bpr, None
                if mse in ("product", "ends"):
                    terms = []
                    for u, p in zip(nodes[0].tolist(), nodes[1].tolist()):
                        row = row_of.get((u, p - USERS))
                        if row is None:
                            continue
                        if mse == "product":
                            terms.append(((h_r[row] - out[u] * out[p]) ** 2).mean())
                        else:
                            terms.append((((h_r[row] - out[u]) ** 2).mean() + ((h_r[row] - out[p]) ** 2).mean()) / 2)
                    of_mse = torch.stack(terms).mean()
                    loss = share * of_bpr + (1 - share) * of_mse
                grads = torch.autograd.grad(loss, list(named.values()))
                at = f"{norm}.{mse}.{pooling}"
                golden[f"{at}.out"], golden[f"{at}.loss"] = out, loss.reshape(1)
                golden[f"{at}.bpr"] = of_bpr.reshape(1)
                if of_mse is not None:
                    golden[f"{at}.mse"] = of_mse.reshape(1)
                for (name, value), grad in zip(named.items(), grads):
                    golden[f"{at}.param.{name}"], golden[f"{at}.grad.{name}"] = value, grad
    save("reviewgnn", golden)


p4r()
reviewgnn()
