/**
 * Sums that are exact: the true sum of any doubles, rounded once, when it is asked for.
 *
 * Every double is a whole number of 2^-1074, with at most 53 bits, somewhere below bit 2098. The sum is kept as such a whole
 * number, in limbs of 32 bits. A limb is itself a double, so it takes 2^20 additions of 32 bits before it can lose one;
 * only then are the carries moved up (Neal, Fast Exact Summation Using Small and Large Superaccumulators, 2015).
 */

/** Bits from the smallest subnormal number to the end of the largest number, and room for 2^53 of them. */
const LIMBS = Math.ceil((2098 + 53) / 32) + 1;
const BASE = 2 ** 32;
/** So many additions of numbers below 2^32 a limb takes, on top of a carry. */
const ROOM = 2 ** 20 - 1;

/** A sum without rounding errors. */
export class ExactSum {
  readonly #limbs = new Float64Array(LIMBS);
  #room = ROOM;
  /** How many of the numbers were NaN, Infinity and -Infinity. */
  nan = 0;
  positive = 0;
  negative = 0;

  /** Adds numbers, of any kind that Number() takes. */
  add(numbers: ArrayLike<number | bigint>): void {
    const limbs = this.#limbs;
    const double = Float64Array.of(1);
    const words = new Uint32Array(double.buffer);
    // which half of a double comes first depends on the machine; the lower one of 1 is 0
    const [lower, upper] = words[0] === 0 ? [0, 1] : [1, 0];
    for (let i = 0; i < numbers.length; i++) {
      double[0] = Number(numbers[i]);
      const high = words[upper] as number;
      const low = words[lower] as number;
      const exponent = (high >>> 20) & 0x7ff;
      if (exponent === 0x7ff) {
        if (Number.isNaN(double[0])) this.nan += 1;
        else if (double[0] > 0) this.positive += 1;
        else this.negative += 1;
        continue;
      }
      if (this.#room === 0) this.#carry();
      this.#room -= 1;
      // subnormal numbers have the exponent of the smallest normal ones, and no hidden bit
      const place = exponent === 0 ? 0 : exponent - 1;
      const top = (high & 0xfffff) | (exponent === 0 ? 0 : 0x100000);
      const shift = place & 31;
      const limb = place >>> 5;
      const sign = high >>> 31 === 0 ? 1 : -1;
      // a shift by 32 would be one by 0: two steps
      limbs[limb] = (limbs[limb] as number) + sign * ((low << shift) >>> 0);
      const middle = ((top << shift) | ((low >>> 1) >>> (31 - shift))) >>> 0;
      limbs[limb + 1] = (limbs[limb + 1] as number) + sign * middle;
      limbs[limb + 2] = (limbs[limb + 2] as number) + sign * ((top >>> 1) >>> (31 - shift));
    }
  }

  /** Moves up what a limb has beyond 32 bits. The last limb keeps the sign. */
  #carry(): void {
    const limbs = this.#limbs;
    let carry = 0;
    for (let i = 0; i < LIMBS - 1; i++) {
      const sum = (limbs[i] as number) + carry;
      carry = Math.floor(sum / BASE);
      limbs[i] = sum - carry * BASE;
    }
    limbs[LIMBS - 1] = (limbs[LIMBS - 1] as number) + carry;
    this.#room = ROOM;
  }

  /** The sum of the finite numbers, in units of 2^-1074. */
  get units(): bigint {
    let units = 0n;
    for (let i = LIMBS - 1; i >= 0; i--) units = (units << 32n) + BigInt(this.#limbs[i] as number);
    return units;
  }

  /** Adds so many units of 2^-1074, as another sum has them. */
  addUnits(units: bigint): void {
    this.#carry();
    let rest = units;
    for (let i = 0; i < LIMBS - 1; i++) {
      this.#limbs[i] = (this.#limbs[i] as number) + Number(BigInt.asUintN(32, rest));
      rest >>= 32n;
    }
    this.#limbs[LIMBS - 1] = (this.#limbs[LIMBS - 1] as number) + Number(rest);
    this.#room -= 1;
  }

  /** The sum over a whole number, rounded once; NaN and infinities as a sum one by one would leave them. */
  over(divisor: number): number {
    if (this.nan > 0 || (this.positive > 0 && this.negative > 0) || divisor === 0) return Number.NaN;
    if (this.positive > 0) return Infinity;
    if (this.negative > 0) return -Infinity;
    return ratio(this.units, BigInt(divisor));
  }
}

/** How many bits a positive number has. */
function bitsOf(n: bigint): number {
  const digits = n.toString(16);
  return digits.length * 4 - Math.clz32(Number.parseInt(digits[0] as string, 16)) + 28;
}

/** The double nearest to n / d * 2^-1074, the even one where two are. */
function ratio(n: bigint, d: bigint): number {
  if (n < 0n) return -ratio(-n, d);
  const whole = n / d;
  if (whole === 0n && 2n * n <= d) return 0;
  // a normal number has 53 bits; a subnormal one ends at 2^-1074
  const drop = whole === 0n ? 0 : Math.max(0, bitsOf(whole) - 53);
  const unit = d << BigInt(drop);
  let mantissa = n / unit;
  const twice = 2n * (n % unit);
  if (twice > unit || (twice === unit && mantissa % 2n === 1n)) mantissa += 1n;
  return Number(mantissa) * 2 ** (drop - 1074);
}
