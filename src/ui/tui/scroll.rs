//! Where the lesson's pane is scrolled to.

/// Where in the lesson's text the learner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scroll {
    /// This line is the first that is shown.
    To(usize),
    /// Where it is shown what happened: the debrief of a step, or the grade of a lab.
    Outcome,
    /// Where the learner's own guess stands, with what the lesson says to it below.
    Said,
    /// Where the tasks of the lab stand.
    Tasks,
    /// Where the newest hint of the lab stands.
    Hint,
    /// Where the way is shown to a learner who has given up.
    Way,
}

impl Default for Scroll {
    fn default() -> Scroll {
        Scroll::To(0)
    }
}
