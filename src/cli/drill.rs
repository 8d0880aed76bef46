//! `drill`: two minutes of practice.

use super::answer::print_answer;
use super::args::{Drill as Command, Output, Practice};
use super::codes::USAGE;
use super::named::once;
use super::words::Word;
use anyhow::anyhow;
use cluster::{Home, Place};
use lab::practice::table::SkillTable;
use lab::practice::view::{Ask, DrillView, Phase};
use lang::charset::{eprintln, print};
use ui::lesson::PageStyle;
use ui::options::{Drill, Options};
use ui::practice::drill as front;
use ui::proof::part::Part;
use ui::repl;
use ui::texts::Lang;
use ui::{proof, settings, terminal};

/// Runs one command of `drill`, and returns its exit code. Without a command, a session that begins
/// with a drill is opened at a terminal; elsewhere a drill begins, as with `drill start`.
pub(crate) async fn run(args: Practice) -> anyhow::Result<i32> {
    let Practice { command, seed, skill, name, lang } = args;
    let home = Home::find()?;
    if command.is_some() && (seed.is_some() || !skill.is_empty()) {
        eprintln!("ropewalk: {}", front::misplaced_seed(settings::language(lang, &home)));
        return Ok(USAGE);
    }
    let in_prompt = settings::in_prompt();
    if command.is_none() && !in_prompt && terminal::is_terminal() {
        let drill = Some(Drill { seed, skills: skill });
        let options = Options { name, lang, plain: true, drill, ..Options::default() };
        return Ok(repl::run(options).await?);
    }
    let lang = settings::language(lang, &home);
    let place = home.cluster(&name)?;
    let style = PageStyle::for_output(lang);
    match command.unwrap_or(Command::Start { seed, skill, output: None }) {
        Command::Start { seed, skill, output } => {
            let announce = || {
                if output.is_none() {
                    eprintln!("{}", front::preparing(lang));
                }
            };
            let drill = front::start(&place, lang, seed, skill, announce).await;
            show(drill.map_err(|e| anyhow!(e.say(lang)))?, &style, output)
        }
        Command::Show { output } => show(query(&place, lang, Ask::Show).await?, &style, output),
        Command::Check { task, output } => check(&place, &style, task.as_deref(), output).await,
        Command::Hint => {
            let task = query(&place, lang, Ask::Show).await?.present().into();
            print!("{}", front::hint(&style, &query(&place, lang, Ask::Hint { task }).await?));
            Ok(0)
        }
        Command::Skip => act(&place, &style, |before| Ask::Skip { task: before.present().into() }).await,
        Command::Stop => act(&place, &style, |_| Ask::Stop).await,
        Command::Test { ids, all, seed, part } => test(&ids, all, seed, part, lang).await,
    }
}

/// Asks the cluster. An error is in the learner's language.
async fn query(place: &Place, lang: Lang, ask: Ask) -> anyhow::Result<DrillView> {
    front::asked(place, lang, ask).await.map_err(|e| anyhow!(e.say(lang)))
}

/// Prints a drill as text or as JSON; exit code 1 if there is none.
fn show(view: DrillView, style: &PageStyle, output: Option<Output>) -> anyhow::Result<i32> {
    print_answer(&view, output, |view| front::page(style, view, clock::now()))?;
    Ok(i32::from(view.phase == Phase::None))
}

/// Judges a task; exit code 0 if it is done. `task`: its id, also if it is over already; `None`:
/// the present one.
async fn check(
    place: &Place,
    style: &PageStyle,
    task: Option<&str>,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let before = query(place, style.lang, Ask::Show).await?;
    let Some(at) = place_of(&before, task) else {
        eprintln!("ropewalk: {}", front::no_such_task(style.lang, task.unwrap_or_default()));
        return Ok(USAGE);
    };
    if task.is_some() && (at != before.at || before.phase.is_over()) {
        print_answer(&before, output, |drill| front::result(style, drill, at, clock::now()))?;
        return Ok(i32::from(!front::is_done(&before, &before, at)));
    }
    let view = query(place, style.lang, Ask::Check).await?;
    let is_done = front::is_done(&before, &view, at);
    let changes = front::changed(style, &before, &view, clock::now());
    print_answer(
        &view,
        output,
        |view| if changes.is_empty() { front::verdict(style, view) } else { changes },
    )?;
    Ok(i32::from(!is_done))
}

/// Returns the place of a task in a drill, or of the present one. `None`: the drill has no such
/// task. If no drill is open, any task has a place: the cluster's answer says that none is open.
fn place_of(view: &DrillView, task: Option<&str>) -> Option<usize> {
    match task {
        Some(id) if view.phase != Phase::None => view.tasks.iter().position(|task| task.id == id),
        _ => Some(view.at),
    }
}

/// Sends an order and prints what it changed. `order` makes it of the drill as it was before.
async fn act(place: &Place, style: &PageStyle, order: impl FnOnce(&DrillView) -> Ask) -> anyhow::Result<i32> {
    let before = query(place, style.lang, Ask::Show).await?;
    let view = query(place, style.lang, order(&before)).await?;
    print!("{}", front::changed(style, &before, &view, clock::now()));
    Ok(0)
}

/// Proves tasks; exit code 0 if all are sound.
async fn test(ids: &[String], all: bool, seed: u64, part: Part, lang: Lang) -> anyhow::Result<i32> {
    let table = SkillTable::built_in();
    for fault in &table.faults {
        eprintln!("ropewalk: {fault}");
    }
    let mut chosen = Vec::new();
    let tasks =
        |skill: &lab::practice::table::Skill| skill.tasks.iter().map(|t| t.id.clone()).collect::<Vec<_>>();
    if all {
        chosen.extend(table.skills.iter().flat_map(tasks));
    }
    for id in ids {
        match (table.skill(id), table.task(id)) {
            (Some(skill), _) => chosen.extend(tasks(skill)),
            (None, Some(_)) => chosen.push(id.clone()),
            (None, None) => {
                eprintln!("ropewalk: {}", lang.say(Word::NoTask, &[&format!("{id:?}")]));
                return Ok(USAGE);
            }
        }
    }
    if chosen.is_empty() {
        eprintln!("ropewalk: {}", lang.say(Word::NameTasks, &[]));
        return Ok(USAGE);
    }
    let chosen = once(chosen, |id| id.as_str());
    let sound = proof::drills::prove(chosen, seed, part).await && table.faults.is_empty();
    Ok(i32::from(!sound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::practice::view::TaskView;

    #[test]
    fn a_task_is_missing_from_a_drill_only_if_there_is_one() {
        let none = DrillView::default();
        assert_eq!(place_of(&none, Some("scale-up")), Some(0), "the answer says that no drill is open");
        let task = |id: &str| TaskView { id: id.into(), ..TaskView::default() };
        let tasks = vec![task("logs"), task("scale-up")];
        let open = DrillView { phase: Phase::Running, tasks, at: 1, ..none };
        assert_eq!(place_of(&open, Some("logs")), Some(0));
        assert_eq!(place_of(&open, Some("exec")), None);
        assert_eq!(place_of(&open, None), Some(1));
    }
}
