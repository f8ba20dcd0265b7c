//! The search for numbers that a loss refuses, for those of single elements and of pairs.
use kernels::pointwise::Domain;
use lanes::memory::Memory;
use lanes::Real;
use wasm_bindgen::prelude::*;

macro_rules! door {
    ($real:ident, $find_invalid:ident) => {
        /// The place of the first of `count` numbers that is not in a [`Domain`]; -1 where there is none.
        #[wasm_bindgen]
        pub fn $find_invalid(domain: u32, count: usize, numbers: usize) -> f64 {
            Memory::with(f64::NAN, |m| {
                let Some(domain) = Domain::from_door(domain) else { return f64::NAN };
                let place = domain.find_invalid::<<$real as Real>::Lanes>(m.view(numbers, count));
                place.map_or(-1.0, |place| place as f64)
            })
        }
    };
}
door!(f32, find_invalid_f32);
door!(f64, find_invalid_f64);
