/**
 * One row per function of the library. Laws (test/laws), benchmarks and the README's table follow from it; no entry point
 * imports it, so that bundles stay lean.
 */

import * as ctc from "./losses/ctc.js";
import * as energy from "./losses/energy.js";
import * as pointwise from "./losses/pointwise.js";
import * as rowwise from "./losses/rowwise.js";
import { cdist } from "./losses/vectors/allPairs.js";
import { infoNceLoss, supervisedContrastiveLoss } from "./losses/vectors/contrastive.js";
import {
  batchAllTripletLoss,
  batchHardTripletLoss,
  batchSemiHardTripletLoss,
} from "./losses/vectors/mining.js";
import * as vectors from "./losses/vectors.js";

/** The families, each with five files of its name: kernel, reference, losses, test, benchmark. */
export const FAMILIES = ["pointwise", "rowwise", "vectors", "ctc", "energy"] as const;
/** One of {@link FAMILIES}. */
export type Family = (typeof FAMILIES)[number];

/** What an input or an option may hold: the tests draw from it. */
export type Domain =
  | "real" // any number
  | "probability" // [0, 1]
  | "positive" // (0, 4]
  | "sign" // -1 or 1
  | "binary" // 0 or 1
  | "log-probability" // (-Infinity, 0]
  | "count" // 0, 1, 2, ...
  | "class" // an index below the number of columns
  | "class set" // such indices, ended by -1
  | "sequence" // labels of a CTC target
  | "group"; // a small whole number

/**
 * How the arrays of a function lie: the same shape everywhere; rows and columns; the same, or columns in the second of more axes;
 * vectors in rows; sets of vectors, [N, D] each; steps of sequences.
 */
export type Layout = "elements" | "rows" | "positions" | "vectors" | "sets" | "sequences";

/** An option: some values to try, or an array to draw. */
export type OptionRow =
  | readonly unknown[]
  | { readonly domain: Domain; readonly per: "element" | "column" | "row" };

/** A function as programs that know all of them see it. */
export interface AnyLoss {
  (...args: unknown[]): unknown;
  valueAndGrad(...args: unknown[]): {
    value: unknown;
    grads: Record<string, { data: Float32Array | Float64Array; shape: readonly number[] }>;
  };
}

/** One function. */
export interface Row {
  readonly name: string;
  readonly entry: "perdida" | "perdida/energy";
  readonly family: Family;
  readonly layout: Layout;
  /** Losses are reduced, mappings are not. */
  readonly kind: "loss" | "mapping";
  readonly loss: AnyLoss;
  /** The inputs in their order, and what they hold. */
  readonly inputs: { readonly [name: string]: Domain };
  /** The inputs that gradients are taken of. */
  readonly differentiable: readonly string[];
  readonly options: { readonly [name: string]: OptionRow };
  /** Reductions beside none, mean, sum. */
  readonly reductions?: readonly string[];
  /** The files of golden values. */
  readonly golden?: string | readonly string[];
  /** For people: the formula of one loss, the PyTorch name, the paper. */
  readonly formula: string;
  readonly torch?: string;
  readonly paper?: string;
}

const row = (loss: unknown, rest: Omit<Row, "name" | "loss">): Row => {
  const f = loss as AnyLoss;
  return { name: f.name, loss: f, ...rest };
};

const ofPairs = {
  entry: "perdida",
  family: "vectors",
  layout: "vectors",
  kind: "mapping",
  inputs: { x1: "real", x2: "real" },
  differentiable: ["x1", "x2"],
} as const;
const ofTriplets = {
  entry: "perdida",
  family: "vectors",
  layout: "vectors",
  kind: "loss",
  inputs: { anchor: "real", positive: "real", negative: "real" },
  differentiable: ["anchor", "positive", "negative"],
} as const;

const perColumn = { domain: "positive", per: "column" } as const;
const rows = {
  entry: "perdida",
  family: "rowwise",
  layout: "rows",
  kind: "loss",
  differentiable: ["input"],
} as const;
const positions = { ...rows, layout: "positions" } as const;
const overLastAxis = { ...rows, kind: "mapping", inputs: { input: "real" }, options: {} } as const;
const energies = {
  entry: "perdida/energy",
  family: "energy",
  layout: "rows",
  kind: "loss",
  inputs: { energies: "real", answers: "class" },
  differentiable: ["energies"],
} as const;
const nearAnswers = { coordinates: { domain: "count", per: "column" }, epsilon: [0] } as const;

const perElement = { domain: "positive", per: "element" } as const;
const elements = { entry: "perdida", family: "pointwise", layout: "elements", kind: "loss" } as const;
const towards = {
  ...elements,
  inputs: { input: "real", target: "real" },
  differentiable: ["input", "target"],
} as const;
const scored = { ...elements, inputs: { input: "real", target: "sign" }, differentiable: ["input"] } as const;

const sets = { entry: "perdida", family: "vectors", layout: "sets" } as const;
const ofBatch = {
  ...sets,
  kind: "loss",
  inputs: { embeddings: "real", labels: "group" },
  differentiable: ["embeddings"],
} as const;
const miningOptions = { margin: [1, 0.2], squared: [false, true], softMargin: [false, true] };

/** Every function of the library. */
export const REGISTRY: readonly Row[] = [
  row(pointwise.l1Loss, { ...towards, options: {}, golden: "l1", formula: "|x - t|", torch: "nn.L1Loss" }),
  row(pointwise.mseLoss, {
    ...towards,
    options: {},
    golden: "mse",
    formula: "(x - t)^2",
    torch: "nn.MSELoss",
  }),
  row(pointwise.smoothL1Loss, {
    ...towards,
    options: { beta: [1, 0.3, 0, 5] },
    golden: "smoothL1",
    formula: "d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = x - t",
    torch: "nn.SmoothL1Loss",
    paper: "Girshick 2015",
  }),
  row(pointwise.huberLoss, {
    ...towards,
    options: { delta: [1, 0.3, 5, Infinity] },
    golden: "huber",
    formula: "d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = x - t",
    torch: "nn.HuberLoss",
    paper: "Huber 1964",
  }),
  row(pointwise.bceLoss, {
    ...elements,
    inputs: { input: "probability", target: "probability" },
    differentiable: ["input", "target"],
    options: { weight: perElement },
    golden: "bce",
    formula: "-w (t log x + (1 - t) log(1 - x))",
    torch: "nn.BCELoss",
  }),
  row(pointwise.bceWithLogitsLoss, {
    ...elements,
    inputs: { input: "real", target: "probability" },
    differentiable: ["input", "target"],
    options: { weight: perElement, posWeight: perElement },
    golden: "bceWithLogits",
    formula: "-w (p t log s(x) + (1 - t) log s(-x))",
    torch: "nn.BCEWithLogitsLoss",
  }),
  row(pointwise.klDivLoss, {
    ...elements,
    inputs: { input: "real", target: "probability" },
    differentiable: ["input", "target"],
    options: { logTarget: [false] },
    reductions: ["batchmean"],
    golden: "klDiv",
    formula: "t (log t - x)",
    torch: "nn.KLDivLoss",
    paper: "Kullback, Leibler 1951",
  }),
  row(pointwise.klDivLoss, {
    ...elements,
    inputs: { input: "real", target: "log-probability" },
    differentiable: ["input", "target"],
    options: { logTarget: [true] },
    reductions: ["batchmean"],
    formula: "exp(t) (t - x)",
    torch: "nn.KLDivLoss",
  }),
  row(pointwise.poissonNllLoss, {
    ...elements,
    inputs: { input: "real", target: "count" },
    differentiable: ["input"],
    options: { full: [false, true] },
    golden: "poissonNll",
    formula: "exp(x) - t x",
    torch: "nn.PoissonNLLLoss",
  }),
  row(pointwise.poissonNllLoss, {
    ...elements,
    inputs: { input: "positive", target: "count" },
    differentiable: ["input"],
    options: { logInput: [false], full: [false, true], eps: [1e-8, 0.1, 0] },
    formula: "x - t log(x + eps)",
    torch: "nn.PoissonNLLLoss",
  }),
  row(pointwise.softMarginLoss, {
    ...scored,
    options: {},
    golden: "softMargin",
    formula: "log(1 + exp(-t x))",
    torch: "nn.SoftMarginLoss",
  }),
  row(pointwise.sigmoidFocalLoss, {
    ...scored,
    inputs: { input: "real", target: "binary" },
    options: { alpha: [0.25, -1, 0, 1], gamma: [2, 0, 0.5, 1, 3.5] },
    golden: "sigmoidFocal",
    formula: "a q^gamma BCE(x, t), with q = s(x) (1 - t) + s(-x) t",
    torch: "torchvision.ops.sigmoid_focal_loss",
    paper: "Lin et al. 2017",
  }),
  row(pointwise.gaussianNllLoss, {
    ...elements,
    inputs: { input: "real", target: "real", variance: "positive" },
    differentiable: ["input", "target", "variance"],
    options: { full: [false, true], eps: [1e-6, 0.01, 0] },
    golden: "gaussianNll",
    formula: "(log v + (x - t)^2 / v) / 2, with v = max(variance, eps)",
    torch: "nn.GaussianNLLLoss",
    paper: "Nix, Weigend 1994",
  }),
  row(pointwise.marginRankingLoss, {
    ...elements,
    inputs: { input1: "real", input2: "real", target: "sign" },
    differentiable: ["input1", "input2"],
    options: { margin: [0, 0.5, -1] },
    golden: "marginRanking",
    formula: "max(0, margin - t (x1 - x2))",
    torch: "nn.MarginRankingLoss",
  }),
  row(pointwise.hingeEmbeddingLoss, {
    ...scored,
    options: { margin: [1, 0.2] },
    golden: "hingeEmbedding",
    formula: "x where t = 1, max(0, margin - x) where t = -1",
    torch: "nn.HingeEmbeddingLoss",
  }),
  row(rowwise.crossEntropyLoss, {
    ...positions,
    inputs: { input: "real", target: "class" },
    options: { weight: perColumn, ignoreIndex: [-100, 0], labelSmoothing: [0, 0.1, 1] },
    golden: ["crossEntropy", "crossEntropy.positions"],
    formula: "-w_y log softmax(x)_y",
    torch: "nn.CrossEntropyLoss",
    paper: "Szegedy et al. 2016 (label smoothing)",
  }),
  row(rowwise.crossEntropyLoss, {
    ...positions,
    inputs: { input: "real", target: "probability" },
    differentiable: ["input", "target"],
    options: { weight: perColumn, labelSmoothing: [0, 0.1, 1] },
    formula: "-sum_c w_c q_c log softmax(x)_c",
    torch: "nn.CrossEntropyLoss",
  }),
  row(rowwise.nllLoss, {
    ...positions,
    inputs: { input: "log-probability", target: "class" },
    options: { weight: perColumn, ignoreIndex: [-100, 0] },
    golden: ["nll", "nll.positions"],
    formula: "-w_y x_y",
    torch: "nn.NLLLoss",
  }),
  row(rowwise.multiMarginLoss, {
    ...rows,
    inputs: { input: "real", target: "class" },
    options: { p: [1, 2], margin: [1, 0.5, 0], weight: perColumn },
    golden: "multiMargin",
    formula: "1/C sum_{c != y} w_y max(0, margin - x_y + x_c)^p",
    torch: "nn.MultiMarginLoss",
    paper: "Crammer, Singer 2001",
  }),
  row(rowwise.multiLabelMarginLoss, {
    ...rows,
    inputs: { input: "real", target: "class set" },
    options: {},
    golden: "multiLabelMargin",
    formula: "1/C sum_{j in set, i outside} max(0, 1 - x_j + x_i)",
    torch: "nn.MultiLabelMarginLoss",
  }),
  row(rowwise.multiLabelSoftMarginLoss, {
    ...rows,
    inputs: { input: "real", target: "binary" },
    options: { weight: perColumn },
    golden: "multiLabelSoftMargin",
    formula: "-1/C sum_c w_c (t_c log s(x_c) + (1 - t_c) log s(-x_c))",
    torch: "nn.MultiLabelSoftMarginLoss",
  }),
  row(rowwise.logSumExp, {
    ...overLastAxis,
    golden: "logsumexp",
    formula: "log sum_c exp(x_c)",
    torch: "torch.logsumexp",
  }),
  row(rowwise.logSoftmax, {
    ...overLastAxis,
    golden: "logSoftmax",
    formula: "x - logSumExp(x)",
    torch: "nn.LogSoftmax",
  }),
  row(rowwise.softmax, {
    ...overLastAxis,
    formula: "exp(x - logSumExp(x))",
    torch: "nn.Softmax",
  }),
  row(vectors.pairwiseDistance, {
    ...ofPairs,
    options: { p: [1, 1.5, 2, 3, Infinity], eps: [1e-6, 0] },
    golden: "pairwiseDistance",
    formula: "||x1 - x2 + eps||_p",
    torch: "nn.PairwiseDistance",
  }),
  row(vectors.cosineSimilarity, {
    ...ofPairs,
    options: {},
    golden: "cosineSimilarity",
    formula: "x1 x2 / (|x1| |x2|)",
    torch: "nn.CosineSimilarity",
  }),
  row(vectors.cosineEmbeddingLoss, {
    ...ofPairs,
    kind: "loss",
    inputs: { input1: "real", input2: "real", target: "sign" },
    differentiable: ["input1", "input2"],
    options: { margin: [0, 0.3, -0.5] },
    golden: "cosineEmbedding",
    formula: "1 - cos where y = 1, max(0, cos - margin) where y = -1",
    torch: "nn.CosineEmbeddingLoss",
  }),
  row(vectors.tripletMarginLoss, {
    ...ofTriplets,
    options: { margin: [1, 0.2], p: [1, 1.5, 2, 3, Infinity], eps: [1e-6, 0], swap: [false, true] },
    golden: "tripletMargin",
    formula: "max(0, margin + ||a - p||_p - ||a - n||_p)",
    torch: "nn.TripletMarginLoss",
    paper: "Balntas et al. 2016 (swap)",
  }),
  row(vectors.tripletMarginWithDistanceLoss, {
    ...ofTriplets,
    options: { distance: ["euclidean", "cosine", "manhattan"], margin: [1, 0.2], swap: [false, true] },
    golden: "tripletMarginWithDistance",
    formula: "max(0, margin + d(a, p) - d(a, n))",
    torch: "nn.TripletMarginWithDistanceLoss",
  }),
  row(ctc.ctcLoss, {
    entry: "perdida",
    family: "ctc",
    layout: "sequences",
    kind: "loss",
    inputs: { logits: "real", targets: "sequence" },
    differentiable: ["logits"],
    options: { zeroInfinity: [false, true] },
    golden: "ctc",
    formula: "-log sum over paths that collapse to the target of prod_t softmax(x_t)",
    torch: "nn.CTCLoss",
    paper: "Graves et al. 2006",
  }),
  row(cdist, {
    ...sets,
    kind: "mapping",
    inputs: { x1: "real", x2: "real" },
    differentiable: ["x1", "x2"],
    options: { p: [1, 1.5, 2, 3, Infinity] },
    golden: "cdist",
    formula: "||x1_i - x2_j||_p",
    torch: "torch.cdist",
  }),
  row(batchHardTripletLoss, {
    ...ofBatch,
    options: miningOptions,
    golden: ["batchHardTriplet", "batchHardTriplet.metricLearning"],
    formula: "max(0, margin + max_p d(a, p) - min_n d(a, n))",
    paper: "Hermans et al. 2017",
  }),
  row(batchSemiHardTripletLoss, {
    ...ofBatch,
    options: miningOptions,
    golden: "batchSemiHardTriplet",
    formula: "max(0, margin + d(a, p) - min_{d(a, n) > d(a, p)} d(a, n))",
    paper: "Schroff et al. 2015 (FaceNet)",
  }),
  row(batchAllTripletLoss, {
    ...ofBatch,
    options: miningOptions,
    golden: "batchAllTriplet",
    formula: "sum_{p, n} max(0, margin + d(a, p) - d(a, n))",
    paper: "Hermans et al. 2017",
  }),
  row(supervisedContrastiveLoss, {
    ...ofBatch,
    options: { temperature: [0.1, 0.5, 1] },
    golden: "supervisedContrastive",
    formula: "-1/|P| sum_p log softmax_{a != i}(cos(x_i, x_a) / temperature)_p",
    paper: "Khosla et al. 2020",
  }),
  row(infoNceLoss, {
    ...sets,
    kind: "loss",
    inputs: { query: "real", key: "real" },
    differentiable: ["query", "key"],
    options: { temperature: [0.1, 0.5, 1], symmetric: [false, true] },
    golden: ["infoNce", "infoNce.metricLearning"],
    formula: "-log softmax_j(cos(q_i, k_j) / temperature)_i",
    paper: "van den Oord et al. 2018",
  }),
  row(energy.energyLoss, {
    ...energies,
    options: {},
    golden: "ebm.energy",
    formula: "E(Y)",
    paper: "LeCun et al. 2006",
  }),
  row(energy.perceptronLoss, {
    ...energies,
    options: {},
    golden: "ebm.perceptron",
    formula: "E(Y) - min_y E(y)",
    paper: "LeCun et al. 2006; Collins 2002",
  }),
  row(energy.hingeLoss, {
    ...energies,
    options: { margin: [1, 0.5] },
    golden: "ebm.hinge",
    formula: "max(0, m + E(Y) - E(Yi)), Yi the most offending incorrect answer",
    paper: "LeCun et al. 2006; Altun et al. 2003",
  }),
  row(energy.logLoss, {
    ...energies,
    options: {},
    golden: "ebm.log",
    formula: "log(1 + exp(E(Y) - E(Yi)))",
    paper: "LeCun et al. 2006",
  }),
  row(energy.lvq2Loss, {
    ...energies,
    options: { margin: [1, 0.5] },
    golden: "ebm.lvq2",
    formula: "min(m, max(0, E(Y) - E(Yi)))",
    paper: "LeCun et al. 2006; Kohonen et al. 1988",
  }),
  row(energy.mceLoss, {
    ...energies,
    options: {},
    golden: "ebm.mce",
    formula: "1 / (1 + exp(E(Yi) - E(Y)))",
    paper: "LeCun et al. 2006; Juang et al. 1997",
  }),
  row(energy.squareSquareLoss, {
    ...energies,
    options: { margin: [1, 2] },
    golden: "ebm.squareSquare",
    formula: "E(Y)^2 + max(0, m - E(Yi))^2",
    paper: "LeCun et al. 2006; LeCun, Huang 2005",
  }),
  row(energy.squareExponentialLoss, {
    ...energies,
    options: { beta: [1, 0.5] },
    golden: "ebm.squareExponential",
    formula: "E(Y)^2 + beta exp(-E(Yi))",
    paper: "LeCun et al. 2006; Osadchy et al. 2005",
  }),
  row(energy.nllLoss, {
    ...energies,
    options: { beta: [1, 0.25, 20], logMeasure: { domain: "log-probability", per: "column" } },
    golden: "ebm.nll",
    formula: "E(Y) + 1/beta log sum_y exp(-beta E(y) + logMeasure(y))",
    paper: "LeCun et al. 2006",
  }),
  row(energy.meeLoss, {
    ...energies,
    options: { beta: [1, 0.25, 5] },
    golden: "ebm.mee",
    formula: "1 - exp(-beta E(Y)) / sum_y exp(-beta E(y))",
    paper: "LeCun et al. 2006; Ljolje et al. 1990",
  }),
  row(energy.contrastiveLoss, {
    ...energies,
    options: {
      surrogate: ["hinge", "log"],
      margin: [1, 0],
      marginMatrix: { domain: "real", per: "element" },
    },
    golden: "ebm.contrastive",
    formula: "sum_{y != Y} H(E(Y) - E(y) + C(Y, y)), H hinge or log",
    paper: "LeCun et al. 2006; Weston, Watkins 1998",
  }),
  row(energy.hingeLoss, {
    ...energies,
    options: nearAnswers,
    formula: "max(0, m + E(Y) - E(Yi)), Yi farther than epsilon from Y",
    paper: "LeCun et al. 2006",
  }),
];
