"""Writes the golden values of the losses that look at a whole batch: what pytorch-metric-learning makes of them.

    pip install torch pytorch-metric-learning
    python test/vectors/metricLearning.py        (writes test/golden/*.json)

Which semi-hard triplets there are is chosen here, as FaceNet has it (for each anchor and positive the nearest negative that is
farther than the positive; the farthest negative where there is none): the library's own semi-hard miners keep another set. The
loss of those triplets and its gradient are the library's.
"""
import json
from pathlib import Path

import pytorch_metric_learning
import torch
from pytorch_metric_learning import distances, losses, miners, reducers

GOLDEN = Path(__file__).parent.parent / "golden"
SOURCE = f"pytorch-metric-learning {pytorch_metric_learning.__version__} on torch {torch.__version__} float64"
SEED = 20261125


def tensor(x):
    x = x.detach()
    return {"shape": list(x.shape), "dtype": "float", "data": x.reshape(-1).tolist()}


def embeddings(n, d, generator):
    """Numbers that are exact in single precision."""
    return torch.randn(n, d, generator=generator).double().requires_grad_()


def case(name, options, inputs, value):
    value.backward()
    grads = {key: tensor(x.grad) for key, x in inputs.items()}
    return {
        "name": name,
        "options": options,
        "inputs": {key: tensor(x) for key, x in inputs.items()},
        "value": tensor(value),
        "grads": grads,
    }


def write(op, cases):
    GOLDEN.joinpath(f"{op}.json").write_text(
        json.dumps({"op": op, "source": SOURCE, "seed": SEED, "cases": cases}, separators=(",", ":"))
    )


def semi_hard(distance, labels):
    """Anchors, positives and negatives."""
    triplets = []
    for a in range(len(labels)):
        negatives = [n for n in range(len(labels)) if labels[n] != labels[a]]
        for p in range(len(labels)):
            if p == a or labels[p] != labels[a] or not negatives:
                continue
            farther = [n for n in negatives if distance[a, n] > distance[a, p]]
            if farther:
                n = min(farther, key=lambda n: distance[a, n])
            else:
                n = max(negatives, key=lambda n: distance[a, n])
            triplets.append((a, p, n))
    return tuple(torch.tensor(column) for column in zip(*triplets))


# the last class of one has an anchor without a positive
BATCHES = [
    (4, 8, [0, 0, 1, 1]),
    (9, 17, [2, 0, 2, 1, 1, 0, 2, 1, 5]),
    (13, 6, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3]),
]
WAYS = [
    ("plain", {"margin": 0.8}),
    ("squared", {"margin": 0.3, "squared": True}),
    ("soft", {"softMargin": True}),
]


def triplet_cases(mining, generator):
    cases = []
    for n, d, labels in BATCHES:
        for way, options in WAYS:
            x = embeddings(n, d, generator)
            y = torch.tensor(labels)
            soft = options.get("softMargin", False)
            distance = distances.LpDistance(normalize_embeddings=False, power=2 if options.get("squared") else 1)
            loss = losses.TripletMarginLoss(
                margin=0 if soft else options["margin"],
                smooth_loss=soft,
                distance=distance,
                reducer=reducers.AvgNonZeroReducer() if mining == "all" else reducers.MeanReducer(),
            )
            if mining == "hard":
                found = miners.BatchHardMiner(distance=distance)(x, y)
            elif mining == "semi-hard":
                found = semi_hard(distance(x), labels)
            else:
                found = None
            options = {**options, "labels": labels, "reduction": "mean"}
            cases.append(case(f"{n}x{d}-{way}", options, {"embeddings": x}, loss(x, y, found)))
    return cases


def contrastive_cases(generator):
    cases = []
    for n, d, labels in BATCHES:
        for temperature in (0.1, 0.5):
            x = embeddings(n, d, generator)
            value = losses.SupConLoss(temperature=temperature)(x, torch.tensor(labels))
            options = {"temperature": temperature, "labels": labels, "reduction": "mean"}
            cases.append(case(f"{n}x{d}-{temperature}", options, {"embeddings": x}, value))
    return cases


def info_nce_cases(generator):
    cases = []
    for n, d in ((2, 3), (5, 8), (10, 17)):
        for symmetric in (False, True):
            q, k = embeddings(n, d, generator), embeddings(n, d, generator)
            loss = losses.NTXentLoss(temperature=0.2, reducer=reducers.MeanReducer())
            each = torch.arange(n)
            # pairs within the other set, so that each query has its key and no other positive
            others = torch.nonzero(each[:, None] != each[None, :])
            pairs = (each, each, others[:, 0], others[:, 1])
            value = loss(q, indices_tuple=pairs, ref_emb=k)
            if symmetric:
                value = (value + loss(k, indices_tuple=pairs, ref_emb=q)) / 2
            options = {"temperature": 0.2, "symmetric": symmetric, "reduction": "mean"}
            cases.append(case(f"{n}x{d}-{'both' if symmetric else 'one'}", options, {"query": q, "key": k}, value))
    return cases


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(SEED)
    write("batchHardTriplet.metricLearning", triplet_cases("hard", generator))
    write("batchSemiHardTriplet", triplet_cases("semi-hard", generator))
    write("batchAllTriplet", triplet_cases("all", generator))
    write("supervisedContrastive", contrastive_cases(generator))
    write("infoNce.metricLearning", info_nce_cases(generator))
