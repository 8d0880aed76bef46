//! Why a call of a runtime failed.

/// Why the runtime did not do what it was asked. [`Error::line`] has the causes, too.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No sandbox, container or process of that id.
    #[error("{0} not found")]
    NotFound(String),
    /// The image is not built in. `known` lists those that are.
    #[error("{reference}: not found: this cluster works offline and has these images: {}", known.join(", "))]
    NoImage {
        /// The image, normalized.
        reference: String,
        /// The images that can be used.
        known: Vec<String>,
    },
    /// The reference is not of the form `[host/]path[:tag][@digest]`.
    #[error("couldn't parse image name {image:?}: {why}")]
    BadImageName {
        /// The image, as the pod names it.
        image: String,
        /// What is wrong with it.
        why: String,
    },
    /// The image stands for a component of the cluster, and this pod is none of those that run it.
    #[error(
        "image {image:?} is reserved: {component} runs from the cluster's own manifests only (static pods of a control-plane node, addons in kube-system)"
    )]
    Reserved {
        /// The image, as the pod names it.
        image: String,
        /// The component that it stands for, e.g. `kube-scheduler`.
        component: String,
    },
    /// The pod forbids user 0 (`runAsNonRoot`) and names no user, and that of the image is 0.
    #[error("container has runAsNonRoot and image will run as root")]
    RunsAsRoot,
    /// The container could not be set up or its program could not be run. The message is for
    /// people.
    #[error("{0}")]
    Start(String),
    /// The call makes no sense in the object's state.
    #[error("{0}")]
    State(String),
    /// This runtime does not do that.
    #[error("{0} is not implemented by this runtime")]
    Unsupported(&'static str),
    /// A system call failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        #[source]
        cause: std::io::Error,
    },
}

impl Error {
    /// Returns the error with its causes on one line, for Events: `cannot make /x: Permission
    /// denied (os error 13)`.
    pub fn line(&self) -> String {
        lang::chain(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Event that says "cannot make /x" and not why gives a user nothing to mend.
    #[test]
    fn an_error_has_its_causes_on_its_line() {
        let cause = std::io::Error::other("no room");
        let error = Error::Io { what: "cannot make /x".into(), cause };
        let texts = (error.to_string(), error.line());
        assert_eq!(texts, ("cannot make /x".into(), "cannot make /x: no room".into()));
        assert_eq!(Error::Start("failed".into()).line(), "failed");
    }
}
