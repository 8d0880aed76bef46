//! # Graded labs: something is broken; mend it
//!
//! ## In Kubernetes
//! There is no such part. The nearest relative is the certification exam: a live cluster, weighted
//! tasks, partial credit, and a judge that looks at the state and never at the keystrokes.
//! ## How this one works
//! A lab is a file ([`read`]) whose names, ports and fault are drawn from a seed ([`draw`]): same
//! seed, same lab, on every machine. `lab start` remembers the store's revision, sets the lab up as
//! the teacher, waits until the symptom shows, and only then starts the clock. Once more, it first
//! puts the lab's namespaces back to that revision; which these are is read from its lines
//! (`lab::lines::objects`). What people made elsewhere stays, and what would go is named first
//! (`run::plan`); objects that the cluster made itself and no person has changed are not named,
//! which would tell where a lab's cause is (`actor::cost::look`).
//!
//! While a lab is open, `world` watches, and notes since when each task has been green. `lab
//! grade` ([`run`]) asks each task's expressions and demands that they hold for a moment; what has
//! to be disturbed to be known (does it heal?) is disturbed, judged, and taken back by a rewind,
//! unseen by the checks' history. What a person changes or rewinds until then turns the task red,
//! and what a person does after it is seen and stays, also while the cluster still recovers.
//! [`score`] turns verdicts into points, [`seal`] signs the record.
//!
//! What is kept of the open lab (`book`) is sealed with the cluster's key, and a key of the store
//! counts along: an edited file, and an older copy of it, make the lab one that was tampered with,
//! which does not pass. When the time is over, the lab run notes what people have written in the
//! cluster (`intents`); what differs from that at grading was changed too late, also if a CronJob
//! did it that was set up before. A command in a container of the lab, and a fault that is made or
//! mended, change no object and count as a change all the same. Who acts under a component's name
//! is the component only if no person holds a token or certificate of that name (`observe::who`);
//! such names are noted whether a lab is open or not, and kept with it. What was before the open
//! lab is held in the store from compaction; where the store no longer has it, leaving deletes
//! what the lab made (`run::way_back`). What the setup broke with `fault` is mended in both cases.
//! It ends with the cluster's process, so it is broken once more after the next start (`lasting`),
//! and the lab goes on when its symptom shows again. The clock is the calendar's: it runs while the
//! cluster is down, as in an exam. Records say how often a lab was started, graded, left and given
//! up.
//!
//! Several sessions may look at the open lab: each follows it (`run::follow`) and gets a view now
//! and after every change. The last grade and the explanations for a learner who gave up belong to
//! the view and are kept with the lab, in every language: a session that begins later shows them,
//! too.
//! ## What a signature is worth
//! It shows that a record was edited. It does not show that a learner did the work: the key lies on
//! the learner's machine, and a person who reads it can sign and seal anything. The same is true of
//! a person who puts back the whole cluster's directory, store and all, as it was.
//! ## Left out
//! After the cluster's process was restarted in the middle of a lab, `history` knows what was there
//! when the clock started (the store keeps that) and what has become of it, and no version in
//! between but those that the book keeps: of each pod one that tells of most restarts of its
//! containers (`book::Restarted`), so that the restarts that come with the cluster's do not hide
//! a person's. A container that was ended in the last moments before the process ended counts as
//! ended with it. `trace` begins anew, and the hash chain goes on without the records of the
//! restart.
//! ## Read next
//! `cli::lab` and `ui::labs`, which prove labs.

pub(crate) mod book;
pub mod draw;
mod error;
pub mod guest;
mod intents;
pub(crate) mod lasting;
pub mod lent;
mod opened;
mod parts;
pub mod read;
pub mod run;
pub mod score;
pub mod seal;
pub(crate) mod stopwatch;
pub mod view;
mod words;
pub(crate) mod world;

pub use error::Error;
pub(crate) use opened::{Opened, Opening, Reserved};

/// The variable that `lab test` sets for the clusters that it starts. Only such a cluster names the
/// parts of a check that are not so.
pub const PROOF: &str = "ROPEWALK_LAB_TEST";
