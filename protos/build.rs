//! Compiles the `.proto` files, without a `protoc` to install.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/silverback/v1/silverback.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("silverback.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".silverback.v1.LineProtocol.body")
        .compile_fds(descriptors)?;
    Ok(())
}
