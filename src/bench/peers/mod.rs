//! Programs of others that do the same work in the same minutes: how each is found on PATH, started
//! and ended. Where one does not run, the figures stand alone, and a line says why. (A peer
//! kube-apiserver is not started here: its kubeconfig is given, see `api`.)

pub(super) mod crun;
pub(super) mod etcd;
