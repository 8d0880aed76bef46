//! `progress`: what the learner can do, and what is rusty. It needs no cluster that runs.

use super::args::{Output, Progress};
use cluster::Home;
use lab::practice::map::SkillMap;
use lang::charset::print;
use std::io::IsTerminal;
use ui::lesson::tag;
use ui::practice::progress;
use ui::{settings, terminal};

/// Exit code 0, also for a learner who has only begun.
pub(crate) fn run(args: &Progress) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(args.lang, &home);
    let map = SkillMap::read(&home.cluster(&args.name)?, tag(lang));
    match args.output {
        Some(Output::Json) => std::println!("{}", serde_json::to_string_pretty(&map)?),
        None => {
            let colour = std::io::stdout().is_terminal() && terminal::colours();
            print!("{}", progress::picture(lang, &map, clock::now(), colour));
        }
    }
    Ok(0)
}
