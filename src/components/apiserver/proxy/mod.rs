//! Requests that another server answers.
//!
//! | file | part |
//! |---|---|
//! | `kubelet` | logs, exec, attach, port-forward: the kubelet of the pod's node |
//! | `pods` | a request to a server in a pod, by the name of the pod or of a Service |
//! | `links`, `html`, `references` | links in its answers, which lead back through the proxy |
//! | `names` | names and paths of what a proxied request asks for |
//! | `dial` | connections of this server to kubelets |
//! | `handshakes` | how many connections to one kubelet begin at a time |
//! | `log_options` | the options of a log, checked before the kubelet reads them |
//! | `log_answer` | what the kubelet answers: the log, or why there is none |
//! | `forward` | one request passed on and its answer back, changes of protocol included |

pub(crate) mod dial;
pub mod forward;
pub(crate) mod handshakes;
mod html;
pub(crate) mod kubelet;
mod links;
pub(crate) mod log_answer;
pub(crate) mod log_options;
pub(crate) mod names;
pub(crate) mod pods;
mod references;
