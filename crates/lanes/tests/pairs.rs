//! Pairs of 16-bit numbers in the lanes of 32-bit ones.
use lanes::{I32x4, Ints};

#[test]
fn pairs_are_cut_to_16_bits_and_multiplied() {
    let lanes = I32x4::from_array;
    let pairs = lanes([1, -2, 40_000, -40_000]).to_pairs(lanes([0, 32_767, i32::MIN, i32::MAX]));
    let [a, b, c, d] = pairs.to_array();
    assert_eq!([a as i16, (a >> 16) as i16, b as i16, (b >> 16) as i16], [1, -2, 32_767, -32_768]);
    assert_eq!([c as i16, (c >> 16) as i16, d as i16, (d >> 16) as i16], [0, 32_767, -32_768, 32_767]);
    let squares =
        [1 + 4, 32_767 * 32_767 + 32_768 * 32_768, 32_767 * 32_767, 32_768 * 32_768 + 32_767 * 32_767];
    assert_eq!(pairs.dot_pairs(pairs).to_array(), squares);
    // the one sum that does not fit
    let least = lanes([i32::MIN; 4]).to_pairs(lanes([i32::MIN; 4]));
    assert_eq!(least.dot_pairs(least).to_array(), [i32::MIN; 4]);
}
