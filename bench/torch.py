"""PyTorch on one CPU thread, the yardstick: forward and backward in float32.

Speaks lines of JSON with bench/torch.ts. First it says {"version"}. Then, for each line that comes in:
  {id, name, options, rest, grads, inputs: [{name, shape, dtype, file}]} -> {"answer": [value, sum |grad|, ...]} or {"unknown": true}
  {id, milliseconds}                                                    -> {"samples": [milliseconds per call, ...]}
  {id, close: true}                                                     -> nothing
"""
import json
import sys
import time

sys.path.pop(0)  # this file's folder, where `torch` is this file
import torch
import torch.nn.functional as F

torch.set_num_threads(1)

# names of options that differ, and reductions of our own
OPTIONS = {"posWeight": "pos_weight", "logTarget": "log_target", "labelSmoothing": "label_smoothing", "ignoreIndex": "ignore_index"}


def loss(f):
    """A loss of torch.nn.functional: the inputs in their order, then the options."""
    return lambda a, options, rest: f(*a.values(), **{OPTIONS.get(k, k): v for k, v in options.items()})


def indices(f):
    """The same where the last input counts classes."""
    return lambda a, options, rest: loss(f)({k: v.long() if v.dtype == torch.int32 else v for k, v in a.items()}, options, rest)


def ctc(a, options, rest):
    x, targets = a["logits"], a["targets"]
    steps, samples, _ = x.shape
    lengths = torch.full((samples,), steps), torch.full((samples,), targets.shape[1])
    return F.ctc_loss(x.log_softmax(2), targets.long(), *lengths, reduction=options["reduction"])


def focal(a, options, rest):
    # torchvision's formula with its defaults, the mean of it
    x, t = a["input"], a["target"]
    p = torch.sigmoid(x)
    at = p * t + (1 - p) * (1 - t)
    weight = 0.25 * t + 0.75 * (1 - t)
    return (weight * F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - at) ** 2).mean()


def info_nce(a, options, rest):
    query, key = F.normalize(a["query"], dim=1), F.normalize(a["key"], dim=1)
    scores = query @ key.T / options.get("temperature", 0.1)
    each = torch.arange(len(scores))
    one_way = F.cross_entropy(scores, each)
    return (one_way + F.cross_entropy(scores.T, each)) / 2 if options.get("symmetric") else one_way


def batch_hard(a, options, rest):
    x, labels = a["embeddings"], a["labels"]
    distance = torch.cdist(x, x)
    same = labels[:, None] == labels[None]
    other = same & ~torch.eye(len(x), dtype=torch.bool)
    valid = other.any(1) & (~same).any(1)
    positive = distance.masked_fill(~other, -torch.inf).amax(1)
    negative = distance.masked_fill(same, torch.inf).amin(1)
    return F.relu(options.get("margin", 1.0) + positive - negative)[valid].mean()


def supervised_contrastive(a, options, rest):
    x, labels = F.normalize(a["embeddings"], dim=1, eps=1e-12), a["labels"]
    self = torch.eye(len(x), dtype=torch.bool)
    scores = (x @ x.T / options.get("temperature", 0.1)).masked_fill(self, -torch.inf)
    company = (labels[:, None] == labels[None]) & ~self
    count = company.sum(1)
    losses = -scores.log_softmax(1).masked_fill(~company, 0).sum(1) / count.clamp(min=1)
    return losses[count > 0].mean()


def nearest(a, options, rest):
    return torch.cdist(a["queries"], a["index"]).topk(rest[0], largest=False).values


def answer_energy(f):
    """A loss of energies: that of the answer, and those of the others with the answer's taken out."""

    def apply(a, options, rest):
        e, y = a["energies"], a["answers"].long()[:, None]
        return f(e, e.gather(1, y).squeeze(1), lambda: e.scatter(1, y, torch.inf).amin(1), y).mean()

    return apply


KNOWN = {
    "l1Loss": loss(F.l1_loss),
    "mseLoss": loss(F.mse_loss),
    "smoothL1Loss": loss(F.smooth_l1_loss),
    "huberLoss": loss(F.huber_loss),
    "bceLoss": loss(F.binary_cross_entropy),
    "bceWithLogitsLoss": loss(F.binary_cross_entropy_with_logits),
    "klDivLoss": loss(F.kl_div),
    "poissonNllLoss": loss(F.poisson_nll_loss),
    "gaussianNllLoss": loss(F.gaussian_nll_loss),
    "softMarginLoss": loss(F.soft_margin_loss),
    "sigmoidFocalLoss": focal,
    "marginRankingLoss": loss(F.margin_ranking_loss),
    "hingeEmbeddingLoss": loss(F.hinge_embedding_loss),
    "crossEntropyLoss": indices(F.cross_entropy),
    "nllLoss": indices(F.nll_loss),
    "multiMarginLoss": indices(F.multi_margin_loss),
    "multiLabelMarginLoss": indices(F.multilabel_margin_loss),
    "multiLabelSoftMarginLoss": loss(F.multilabel_soft_margin_loss),
    "logSumExp": lambda a, options, rest: torch.logsumexp(a["input"], -1),
    "logSoftmax": lambda a, options, rest: F.log_softmax(a["input"], -1),
    "softmax": lambda a, options, rest: F.softmax(a["input"], -1),
    "cosineEmbeddingLoss": loss(F.cosine_embedding_loss),
    "tripletMarginLoss": loss(F.triplet_margin_loss),
    "tripletMarginWithDistanceLoss": lambda a, options, rest: F.triplet_margin_with_distance_loss(
        *a.values(), distance_function=lambda x, y: 1 - F.cosine_similarity(x, y)
    ),
    "infoNceLoss": info_nce,
    "batchHardTripletLoss": batch_hard,
    "supervisedContrastiveLoss": supervised_contrastive,
    "pairwiseDistance": loss(F.pairwise_distance),
    "cosineSimilarity": loss(F.cosine_similarity),
    "cdist": loss(torch.cdist),
    "nearest": nearest,
    "ctcLoss": ctc,
    "energy.energyLoss": answer_energy(lambda e, right, wrong, y: right),
    "energy.perceptronLoss": answer_energy(lambda e, right, wrong, y: right - e.amin(1)),
    "energy.hingeLoss": answer_energy(lambda e, right, wrong, y: F.relu(1 + right - wrong())),
    "energy.logLoss": answer_energy(lambda e, right, wrong, y: F.softplus(right - wrong())),
    "energy.mceLoss": answer_energy(lambda e, right, wrong, y: torch.sigmoid(right - wrong())),
    "energy.squareSquareLoss": answer_energy(lambda e, right, wrong, y: right**2 + F.relu(1 - wrong()) ** 2),
    "energy.nllLoss": answer_energy(lambda e, right, wrong, y: F.cross_entropy(-e, y.squeeze(1))),
}


def prepare(question):
    f = KNOWN.get(question["name"])
    if f is None:
        return None
    inputs, same = {}, {}
    for one in question["inputs"]:
        with open(one["file"], "rb") as file:
            data = file.read()
        # one set with itself goes in as one tensor
        tensor = same.setdefault(data, torch.frombuffer(bytearray(data), dtype=getattr(torch, one["dtype"])).reshape(one["shape"]))
        inputs[one["name"]] = tensor
    grads, options, rest = question["grads"], question["options"], question["rest"]

    shape = f(inputs, options, rest).shape
    # the numbers that engines.ts has flow in
    upstream = torch.ones(()) if len(shape) == 0 else (0.1 * (torch.arange(shape.numel()) % 7)).reshape(shape)

    def call():
        a = {k: v.detach().requires_grad_() if k in grads else v for k, v in inputs.items()}
        value = f(a, options, rest)
        if grads:
            value.backward(upstream)
        return value, [a[k].grad for k in grads]

    return call


def main():
    calls = {}
    say = lambda answer: print(json.dumps(answer), flush=True)
    say({"version": torch.__version__})
    for line in sys.stdin:
        question = json.loads(line)
        name = question["id"]
        if question.get("close"):
            calls.pop(name, None)
        elif "milliseconds" in question:
            say({"samples": measure(calls[name], question["milliseconds"])})
        else:
            call = prepare(question)
            if call is None:
                say({"unknown": True})
                continue
            calls[name] = call
            value, grads = call()
            say({"answer": [value.double().sum().item(), *(g.double().abs().sum().item() for g in grads)]})


def measure(call, milliseconds):
    """As measure.ts does it: for about so long, short calls in batches."""
    batch, spent = 1, 0.0
    call()
    while True:
        start = time.perf_counter()
        for _ in range(batch):
            call()
        spent = (time.perf_counter() - start) * 1e3
        if spent >= 0.02:
            break
        batch *= 2
    samples, all_spent = [], 0.0
    while not samples or all_spent < milliseconds:
        start = time.perf_counter()
        for _ in range(batch):
            call()
        spent = (time.perf_counter() - start) * 1e3
        samples.append(spent / batch)
        all_spent += spent
    return samples


main()
