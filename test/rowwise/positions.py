"""Writes the golden values of the losses that take a row of classes per position, [N, C, d1, ..., dk]: PyTorch's.

    pip install torch
    python test/rowwise/positions.py        (writes test/golden/*.positions.json)
"""
import json
from itertools import product
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, log_softmax, nll_loss

GOLDEN = Path(__file__).parent.parent / "golden"
SOURCE = f"torch {torch.__version__} float64"
SEED = 20261125
SHAPES = [(3, 4, 2), (1, 3, 19), (2, 3, 2, 3), (2, 2, 3, 1, 2)]


def tensor(x):
    x = x.detach()
    dtype = "float" if x.is_floating_point() else "int32"
    return {"shape": list(x.shape), "dtype": dtype, "data": x.reshape(-1).tolist()}


def exact(x):
    """Numbers that single precision has as well."""
    return x.float().double()


def case(name, loss, options, inputs, arrays):
    """The gradient of what comes out, every loss of none weighted alike."""
    inputs = {key: x.detach().clone() for key, x in inputs.items()}
    for x in inputs.values():
        x.requires_grad_(x.is_floating_point())
    names = {"ignoreIndex": "ignore_index", "labelSmoothing": "label_smoothing"}
    value = loss(**inputs, **{names.get(key, key): x for key, x in options.items()}, **arrays)
    value.sum().backward()
    return {
        "name": name,
        "options": options,
        "inputs": {key: tensor(x) for key, x in (inputs | arrays).items()},
        "value": tensor(value),
        "grads": {key: tensor(x.grad) for key, x in inputs.items() if x.grad is not None},
    }


def cases(loss, smoothings, probabilities):
    generator = torch.Generator().manual_seed(SEED)
    for shape, weighted, smoothing in product(SHAPES, [False, True], smoothings):
        n, c, *behind = shape
        x = exact(3 * torch.randn(shape, generator=generator))
        if loss is nll_loss:
            x = exact(log_softmax(x, 1))
        classes = torch.randint(c, (n, *behind), generator=generator)
        classes[torch.rand(classes.shape, generator=generator) < 0.2] = 1
        shares = exact(torch.softmax(torch.randn(shape, generator=generator), 1))
        arrays = {"weight": exact(0.5 + torch.rand(c, generator=generator))} if weighted else {}
        for kind in ["classes", "probabilities"] if probabilities else ["classes"]:
            target = classes if kind == "classes" else shares
            for reduction in ["none", "mean", "sum"]:
                options = {"reduction": reduction}
                # one of the classes is passed over in half of the cases
                if kind == "classes" and weighted:
                    options["ignoreIndex"] = 1
                if smoothing:
                    options["labelSmoothing"] = smoothing
                name = f"{'x'.join(map(str, shape))}-{kind}-{'-'.join(map(str, options.values()))}"
                yield case(name, loss, options, {"input": x, "target": target}, arrays)


def write(op, all_cases):
    GOLDEN.joinpath(f"{op}.positions.json").write_text(
        json.dumps({"op": op, "source": SOURCE, "seed": SEED, "cases": list(all_cases)}, separators=(",", ":"))
    )


write("crossEntropy", cases(cross_entropy, [0, 0.1], True))
write("nll", cases(nll_loss, [0], False))
