//! Links the binary `libuv` where pkg-config finds the distribution's library, and nothing where it does not.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    let found = Command::new("pkg-config")
        .args(["--libs", "libuv"])
        .output();
    let Some(found) = found.ok().filter(|found| found.status.success()) else {
        return;
    };
    println!("cargo:rustc-cfg=libuv");
    for flag in String::from_utf8_lossy(&found.stdout).split_whitespace() {
        println!("cargo:rustc-link-arg-bin=libuv={flag}");
    }
}
