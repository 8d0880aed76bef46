//! The names of the images that stand for components of the cluster: `ropewalk.io/<component>`.

/// Images with this prefix are components.
pub(crate) const PREFIX: &str = "ropewalk.io/";

/// Returns the component that an image stands for. `None`: it is an ordinary image.
pub(crate) fn component_of(image: &str) -> Option<&str> {
    image.strip_prefix(PREFIX).map(|rest| rest.split([':', '@']).next().unwrap_or(rest))
}
