//! The places in a text to which a scroll may lead.

/// Lines of the text to read with which something begins that the learner should see at once.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    /// The learner's guess.
    pub said: Option<usize>,
    /// The first block of code of the step, which its task may mean by "the command above".
    pub command: Option<usize>,
    /// What happened: the debrief of a step, or the grade of a lab.
    pub outcome: Option<usize>,
    /// Of a lab: its tasks, its newest hint, and the way.
    pub tasks: Option<usize>,
    pub hint: Option<usize>,
    pub way: Option<usize>,
}
