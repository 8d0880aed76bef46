//! `lab list`.

use super::fault_lines;
use crate::answer::print_answer;
use crate::args::Output;
use crate::running::if_running;
use cluster::Place;
use lab::graded::read::Labs;
use lab::graded::run::listing::entry;
use lab::graded::view::{Ask, Entry};
use lang::charset::eprintln;
use ui::labs as front;
use ui::lesson::{PageStyle, tag};

/// Prints all labs. The learner's grades come from the cluster at `place` if that runs; the list
/// itself needs no cluster. `None`: the labs are not those of a cluster.
pub(super) async fn list(
    place: Option<&Place>,
    labs: &Labs,
    style: &PageStyle,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let (running, code) = match place {
        Some(place) => if_running(front::asked(place, style.lang, Ask::List).await, style.lang),
        None => (None, 0),
    };
    let entries: Vec<Entry> =
        running.unwrap_or_else(|| labs.labs.iter().map(|lab| entry(lab, tag(style.lang))).collect());
    print_answer(&entries, output, |all| front::list(style, all))?;
    fault_lines(labs).iter().for_each(|line| eprintln!("ropewalk: {line}"));
    Ok(if labs.faults.is_empty() { code } else { 1 })
}
