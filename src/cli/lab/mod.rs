//! `lab`: what a script or a classroom asks of graded labs. Commands that the running cluster
//! answers are in `client`, each of the others in a file of its own.

mod client;
mod list;
pub(crate) mod prove;
mod show;
mod verify;

use crate::args::{Lab as Command, LabArgs};
use crate::codes::USAGE;
use crate::named::list_chosen;
use crate::words::{Word, no_lab};
use client::Client;
use cluster::Home;
use lab::graded::read::{self, Labs};
use lang::charset::{eprintln, println};
use ui::lesson::PageStyle;
use ui::prose::harmless;
use ui::texts::Say;
use ui::{proof, settings};

/// Runs one command of `lab`, and returns its exit code.
pub(crate) async fn run(args: LabArgs) -> anyhow::Result<i32> {
    let LabArgs { command, labs: directory, name, lang } = args;
    let home = Home::find()?;
    let lang = settings::language(lang, &home);
    let place = home.cluster(&name)?;
    if let (Some(word), Some(directory)) = (answered_by_cluster(&command), &directory) {
        let directory = directory.display().to_string();
        let with = [word, "--labs", read::DIRECTORY, directory.as_str()];
        eprintln!("ropewalk: {}", lang.say(Say::OwnDirectory, &with));
        return Ok(USAGE);
    }
    if let Some(id) = empty_id(&command) {
        eprintln!("ropewalk: {}", no_lab(id, lang));
        return Ok(1);
    }
    let style = PageStyle::for_output(lang);
    let client = Client { place: &place, style };
    // With a directory, the labs are not those of a cluster.
    let own_cluster = directory.is_none().then_some(&place);
    let load = || Labs::at(directory.as_deref());
    match command {
        Command::List { output } => list::list(own_cluster, &load(), &style, output).await,
        Command::Show { id, seed, output } => {
            show::show(own_cluster, &load(), id, seed, &style, output).await
        }
        Command::Start { id, seed, yes, output } => client.start(id, seed, yes, output).await,
        Command::Check { id, seed, output } => client.check(id, seed, output).await,
        Command::Grade { id, seed, output, learner } => client.grade(id, seed, learner, output).await,
        Command::Hint { id } => client.hint(id).await,
        Command::GiveUp { id, yes } => client.give_up(id, yes).await,
        Command::Leave { id, yes } => client.leave(id, yes).await,
        Command::Solve { id, seed } => client.solve(id, seed).await,
        Command::Verify { file, key } => verify::verify(&file, key.as_deref(), directory.as_deref(), lang),
        Command::Test { ids, all, jobs, dry_run, only, once, part } => {
            let labs = load();
            fault_lines(&labs).iter().for_each(|line| println!("✗ {line}"));
            let Some(chosen) = prove::chosen(&labs, &ids, all, lang) else { return Ok(USAGE) };
            let is_proved = if dry_run {
                let declared = chosen.iter().map(|lab| (lab.id.as_str(), lab.cluster.as_ref()));
                let counts = [labs.labs.len(), labs.faults.len()];
                list_chosen(declared, (Word::LabsRead, counts), lang);
                true
            } else {
                let directory = directory.or_else(read::directory);
                proof::labs::prove(chosen, directory, jobs.into(), only.as_deref(), once, part).await
            };
            Ok(i32::from(!is_proved || !labs.faults.is_empty()))
        }
    }
}

/// Returns the words of a command that the running cluster answers, with its own labs: a directory
/// of labs cannot be given with it.
fn answered_by_cluster(command: &Command) -> Option<&'static str> {
    match command {
        Command::Start { .. } => Some("lab start"),
        Command::Check { .. } => Some("lab check"),
        Command::Grade { .. } => Some("lab grade"),
        Command::Hint { .. } => Some("lab hint"),
        Command::GiveUp { .. } => Some("lab give-up"),
        Command::Leave { .. } => Some("lab leave"),
        Command::Solve { .. } => Some("lab solve"),
        Command::Show { id: None, .. } => Some("lab show"),
        Command::List { .. } | Command::Show { .. } | Command::Verify { .. } | Command::Test { .. } => None,
    }
}

/// Returns the id that a command names, if it is empty: a script may have a variable that is not
/// set.
fn empty_id(command: &Command) -> Option<&str> {
    let id = match command {
        Command::Start { id, .. } => id,
        Command::Show { id, .. }
        | Command::Check { id, .. }
        | Command::Grade { id, .. }
        | Command::Hint { id }
        | Command::GiveUp { id, .. }
        | Command::Leave { id, .. }
        | Command::Solve { id, .. } => id.as_ref()?,
        Command::List { .. } | Command::Verify { .. } | Command::Test { .. } => return None,
    };
    id.trim().is_empty().then_some(id.as_str())
}

/// Returns what is wrong in the files of labs, a line each. A folder may be another person's, and
/// its name have letters that a terminal obeys.
fn fault_lines(labs: &Labs) -> Vec<String> {
    labs.faults.iter().map(|fault| harmless(&fault.to_string()).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ui::texts::Lang;

    #[tokio::test]
    async fn labs_are_shown_without_grades_and_with_the_error_if_the_cluster_gives_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let (style, id) = (PageStyle::for_output(Lang::En), || Some("broken-selector".to_string()));
        let codes = async || {
            let listed = list::list(Some(&place), &Labs::built_in(), &style, None).await.unwrap();
            let shown = show::show(Some(&place), &Labs::built_in(), id(), None, &style, None).await.unwrap();
            (listed, shown)
        };
        assert_eq!(codes().await, (0, 0), "it does not run");
        // A link to itself: it cannot be found out whether the cluster runs.
        std::os::unix::fs::symlink(place.socket(), place.socket()).unwrap();
        assert_eq!(codes().await, (1, 1));
    }

    #[test]
    fn an_empty_id_is_no_lab() {
        let hint = |id: Option<&str>| Command::Hint { id: id.map(String::from) };
        let start = |id: &str| Command::Start { id: id.into(), seed: None, yes: false, output: None };
        assert_eq!((empty_id(&hint(Some(""))), empty_id(&start(" "))), (Some(""), Some(" ")));
        assert_eq!(empty_id(&hint(None)), None, "the open lab");
        assert!(empty_id(&hint(Some("x"))).is_none() && empty_id(&start("x")).is_none());
    }
}
