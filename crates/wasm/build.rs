//! Where a module stands in the one memory that all parts of the core share, which JavaScript makes.
//!
//! The stack is at the bottom and is shared as well: one call runs at a time and leaves nothing on it, and to run over its end traps.
//! Above it each part has a page for its constants, and the whole core has the last one. scripts/build.mjs checks that they keep to it.

/// In the order of their pages.
const PARTS: [&str; 7] = ["POINTWISE", "ROWWISE", "VECTORS", "MANY", "CTC", "ALIGN", "ENERGY"];
const PAGE: usize = 65536;
const STACK: usize = PAGE;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("wasm32") {
        return;
    }
    let chosen = |part: &&str| std::env::var_os(format!("CARGO_FEATURE_{part}")).is_some();
    let place = match PARTS.iter().filter(|part| chosen(part)).count() {
        1 => PARTS.iter().position(chosen).unwrap_or(0),
        _ => PARTS.len(),
    };
    for argument in [
        "--import-memory".into(),
        format!("-zstack-size={STACK}"),
        format!("--global-base={}", STACK + place * PAGE),
    ] {
        println!("cargo:rustc-link-arg-cdylib={argument}");
    }
}
