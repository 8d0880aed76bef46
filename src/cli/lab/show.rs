//! `lab show`.

use super::fault_lines;
use crate::answer::print_answer;
use crate::args::Output;
use crate::running::if_running;
use crate::words::no_lab;
use cluster::Place;
use lab::graded::read::Labs;
use lab::graded::run::listing::sheet;
use lab::graded::view::{Ask, LabView};
use lang::charset::eprintln;
use ui::labs as front;
use ui::lesson::{PageStyle, tag};

/// Prints the open lab of the cluster at `place` as it stands, or another one as a seed would draw
/// it. Exit code 1: there is no such lab, or none is open.
pub(super) async fn show(
    place: Option<&Place>,
    labs: &Labs,
    id: Option<String>,
    seed: Option<u64>,
    style: &PageStyle,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let (open, code) = match place {
        Some(place) => if_running(front::asked(place, style.lang, Ask::Show).await, style.lang),
        None => (None, 0),
    };
    let open: LabView = open.unwrap_or_default();
    let means_open = id.as_ref().is_none_or(|id| *id == open.id) && seed.is_none_or(|s| s == open.seed);
    let view = match (id, means_open && !open.id.is_empty()) {
        (_, true) => open,
        (None, false) => open,
        (Some(id), false) => {
            let Some(lab) = labs.get(&id) else {
                // A lab whose file has a fault is not in the list, and the fault says why.
                fault_lines(labs).iter().for_each(|line| eprintln!("ropewalk: {line}"));
                eprintln!("ropewalk: {}", no_lab(&id, style.lang));
                return Ok(1);
            };
            sheet(lab, seed.unwrap_or(1), tag(style.lang))
        }
    };
    print_answer(&view, output, |v| front::page(style, v))?;
    Ok(if view.id.is_empty() { 1 } else { code })
}
