/** Reading what is given on the command line. */
import { InvalidArgumentError } from "commander";

/** A whole number from `least` on. */
export const whole =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It must be a whole number from ${least} on.`);
    return value;
  };
