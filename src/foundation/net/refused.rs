//! Errors of the kernel, with what was tried.

use cni::Error;

/// Says what was tried when the kernel refuses.
pub(crate) trait Refused<T> {
    fn during(self, what: impl FnOnce() -> String) -> cni::Result<T>;
}

impl<T> Refused<T> for nlink::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> cni::Result<T> {
        self.map_err(|e| {
            let kind = e.errno().map(|errno| std::io::Error::from_raw_os_error(errno.abs()).kind());
            let kind = kind.unwrap_or(std::io::ErrorKind::Other);
            Error::Kernel { what: what(), cause: std::io::Error::new(kind, e.to_string()) }
        })
    }
}

impl<T> Refused<T> for std::io::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> cni::Result<T> {
        self.map_err(|cause| Error::Kernel { what: what(), cause })
    }
}

impl<T> Refused<T> for linux::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> cni::Result<T> {
        self.map_err(|e| Error::Kernel { what: format!("{}: {}", what(), e.what), cause: e.cause })
    }
}
