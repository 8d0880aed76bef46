//! How much each client may have at a time, as upstream's API Priority and Fairness.
//!
//! | file | part |
//! |---|---|
//! | `flow` | the priority level of a request, and the account on which it counts |
//! | `bounds` | what one server takes on: requests, bytes, time |
//! | `seat` | what one request occupies (upstream's term) until its answer is written |
//! | `pool` | places of which no account may take all |
//! | `fair_queue` | work that waits, in a queue for each account |
//! | `compute` | processor time and memory for large objects and long lists |
//! | `free_memory` | what large writes leave free goes back to the kernel |

pub(crate) mod bounds;
pub(crate) mod compute;
pub(crate) mod fair_queue;
pub(crate) mod flow;
pub(crate) mod free_memory;
pub(crate) mod pool;
pub(crate) mod seat;
