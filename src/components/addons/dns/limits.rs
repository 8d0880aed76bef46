//! Limits of answers: their sizes, and how long they may be cached.

/// Seconds that an answer may be kept, as kubeadm's Corefile says (the plug-in's own default is 5).
pub(super) const TTL: u32 = 30;
/// Bytes of an answer over UDP that a client may allow.
pub(super) const EDNS_MAX: usize = 4096;
/// Records of one answer: more do not fit into a message anyway.
pub(super) const RECORDS_MAX: usize = 4096;
/// Bytes of a record without its data, at least: a pointer to the name, type, class, TTL and length
/// (RFC 1035, 4.1.3).
pub(super) const RECORD_MIN: usize = 12;
