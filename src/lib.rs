//! # Ropewalk
//!
//! One program that holds a whole Kubernetes cluster and teaches it. The list of modules below is the
//! table of contents of the book: a room may use rooms on lower floors only, and `tests/it/floors.rs`
//! enforces it. The rule for who may `use` whom is the rule for who talks to whom in Kubernetes.
//!
//! | floor | rooms |
//! |---|---|
//! | 0 | [`lang`] [`linux`] [`clock`] [`rng`] [`tap`] [`task`] [`pki`] |
//! | 1 | [`raft`] [`api`] [`cri`] [`cni`] [`applets`] |
//! | 2 | [`etcd`] [`client`] [`runtime`] [`net`] |
//! | 3 | [`apiserver`] [`scheduler`] [`controllers`] [`kubelet`] [`proxy`] [`addons`] [`kubectl`] [`etcdctl`] |
//! | 4 | [`cluster`] |
//! | 5 | [`lab`] |
//! | 6 | [`ui`] [`bench`] |
//! | 7 | [`cli`] |

// floor 0: the ground
pub mod clock;
pub mod lang;
#[allow(unsafe_code)] // the only room that may talk to the kernel without a net
pub mod linux;
pub mod pki;
pub mod rng;
pub mod tap;
pub mod task;
// floor 1: machinery that knows nothing of a running cluster
pub mod api;
pub mod applets;
pub mod cni;
pub mod cri;
pub mod raft;
// floor 2: what components stand on
pub mod client;
pub mod etcd;
pub mod net;
pub mod runtime;
// floor 3: the components, which meet only through the API
pub mod addons;
pub mod apiserver;
pub mod controllers;
pub mod etcdctl;
pub mod kubectl;
pub mod kubelet;
pub mod proxy;
pub mod scheduler;
// floor 4 and up: a cluster, and what people touch
pub mod bench;
pub mod cli;
pub mod cluster;
pub mod lab;
pub mod ui;
