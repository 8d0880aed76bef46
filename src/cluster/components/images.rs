//! The names of the images that stand for components of the cluster: `ropewalk.io/<component>`.

use sha2::{Digest, Sha256};

/// Images with this prefix are components.
pub(crate) const PREFIX: &str = "ropewalk.io/";

/// Returns the component that an image stands for. `None`: it is an ordinary image.
pub(crate) fn component_of(image: &str) -> Option<&str> {
    image.strip_prefix(PREFIX).map(|rest| rest.split([':', '@']).next().unwrap_or(rest))
}

/// Returns the id of such an image: it changes with the program that runs the component.
pub(crate) fn image_id(image: &str) -> String {
    let digest = Sha256::digest(format!("{image} {}", env!("CARGO_PKG_VERSION")));
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}
