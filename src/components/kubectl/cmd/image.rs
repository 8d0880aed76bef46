//! Names of images, as far as kubectl looks at them before the server does.

use regex::Regex;
use std::sync::LazyLock;

/// The grammar of distribution/reference: `[DOMAIN/]PATH[:TAG][@DIGEST]`.
static REFERENCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let part = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let domain = format!(r"(?:{part}(?:\.{part})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
    let path = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    let whole =
        format!(r"^(?:{domain}/)?{path}(?:/{path})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@{digest})?$");
    Regex::new(&whole).ok()
});

/// Returns whether an image's name has the form of one.
pub(super) fn is_reference(image: &str) -> bool {
    REFERENCE.as_ref().is_some_and(|form| form.is_match(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_have_a_form() {
        let digest = format!("busybox@sha256:{}", "a".repeat(64));
        for good in ["nginx", "nginx:1.25", "localhost:5000/a/b_c:T", "Reg.example/x", "[::1]:5/x", &digest] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "Nginx", "a/B", "a b", "nginx:", "a@sha256:x", "a\n", "-a"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
