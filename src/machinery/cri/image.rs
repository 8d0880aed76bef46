//! Images, as the runtime lists them.

/// An image that is present. `size` is in bytes.
#[derive(Clone, Debug)]
pub struct Image {
    /// `sha256:…`.
    pub id: String,
    /// Normalized references, e.g. `docker.io/library/nginx:latest`.
    pub tags: Vec<String>,
    /// Bytes of its layers.
    pub size: u64,
}
