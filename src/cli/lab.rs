//! `lab`: what a script or a classroom asks of graded labs.

use super::args::{Lab as Command, Output, Report};
use super::beside;
use super::codes::USAGE;
use super::named::once;
use super::running::if_running;
use super::words::{Word, no_lab};
use anyhow::anyhow;
use cluster::{Home, Place};
use lab::graded::read::{self, Lab, Labs};
use lab::graded::run::listing::{entry, sheet};
use lab::graded::view::{Ask, Entry, GivenUp, Graded, LabView, Left, Plan, Played};
use lab::graded::{score, seal};
use lab::view::Elsewhere;
use lang::charset::{eprint, eprintln, print, println};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ui::lesson::{PageStyle, tag};
use ui::options::Options;
use ui::prose::harmless;
use ui::texts::{Lang, Say};
use ui::{consent, lab_proof, labs as front, repl, settings, terminal};

/// The variable that says whose grades these are, where the user's name does not.
const LEARNER: &str = "ROPEWALK_LEARNER";

/// Runs one command of `lab`, and returns its exit code.
pub(crate) async fn run(
    command: Command,
    directory: Option<PathBuf>,
    name: &str,
    lang: Option<Lang>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(lang, &home);
    let place = home.cluster(name)?;
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
    let load = || Labs::at(directory.as_deref());
    let (place, style) = (&place, PageStyle::for_output(lang));
    match command {
        Command::List { output } => list(directory.is_none().then_some(place), load(), &style, output).await,
        Command::Show { id, seed, output } => {
            show(directory.is_none().then_some(place), load(), id, seed, &style, output).await
        }
        Command::Start { id, seed, yes, output } => start(place, id, seed, yes, &style, output).await,
        Command::Check { id, seed, output } => {
            let view: LabView = query(place, lang, Ask::Check { id, seed }).await?;
            emit(&view, output, |v| front::tasks(&style, v))?;
            Ok(if all_green(&view) { 0 } else { 1 })
        }
        Command::Grade { id, seed, output, learner } => {
            let learner = learner.unwrap_or_else(learner_here);
            grade(place, Ask::Grade { id, seed, learner, parts: false }, &style, output).await
        }
        Command::Hint { id } => {
            let view: LabView = query(place, lang, Ask::Hint { id }).await?;
            print!("{}", front::hint(&style, &view));
            Ok(0)
        }
        Command::GiveUp { id, yes } => give_up(place, id, yes, &style).await,
        Command::Leave { id, yes } => leave(place, id, yes, lang).await,
        Command::Solve { id, seed } => solve(place, id, seed, lang).await,
        Command::Verify { file, key } => verify(&file, key.as_deref(), directory.as_deref(), lang),
        Command::Test { ids, all, jobs, dry_run, only, once, part } => {
            let labs = load();
            fault_lines(&labs).iter().for_each(|line| println!("✗ {line}"));
            let Some(chosen) = chosen(&labs, &ids, all, lang) else { return Ok(USAGE) };
            let sound = labs.faults.is_empty();
            if dry_run {
                list_chosen(&labs, &chosen, lang);
                return Ok(if sound { 0 } else { 1 });
            }
            let directory = directory.or_else(read::directory);
            let proved = lab_proof::prove(chosen, directory, jobs.into(), only.as_deref(), once, part).await;
            Ok(if proved && sound { 0 } else { 1 })
        }
    }
}

/// The cluster that a lab declares, if it is another than this one. A script is told by the refusal
/// how to start that: a session would end with the script's input, and the lab with the session.
async fn elsewhere(place: &Place, lang: Lang, id: &str, seed: Option<u64>) -> Option<Elsewhere> {
    if !terminal::is_terminal() {
        return None;
    }
    let ask = Ask::Elsewhere { id: id.into(), seed };
    front::asked(place, lang, ask).await.ok().flatten()
}

/// A session for that. Inside of a session the terminal is that one's, perhaps a pane.
fn options_beside(place: &Place, lang: Lang) -> Options {
    let inside = std::env::var_os(settings::LANG_VARIABLE).is_some();
    Options { name: place.name.clone(), lang: Some(lang), plain: inside, ..Options::default() }
}

/// The words of a command that the running cluster answers, with its own labs: a directory of labs
/// cannot be given with it.
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

/// The id that a command names, if it is empty: a script may have a variable that is not set.
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

/// `lab start`: asks before it ends another lab, then starts this one.
async fn start(
    place: &Place,
    id: String,
    seed: Option<u64>,
    yes: bool,
    style: &PageStyle,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let lang = style.lang;
    // A session shows its texts: it has no JSON for a program that reads this command's output.
    if output.is_none()
        && let Some(there) = elsewhere(place, lang, &id, seed).await
    {
        return beside::session(options_beside(place, lang), there, yes).await;
    }
    let plan: Plan = query(place, lang, Ask::Plan { id: Some(id.clone()), seed }).await?;
    if !yes && !consent::ends_lab(lang, &plan.ends, &plan.lost) {
        return Ok(1);
    }
    // What was listed is agreed to, and no more.
    let start = Ask::Start { id, seed: Some(plan.seed), agreed: (!yes).then_some(plan) };
    let view: LabView = query(place, lang, start).await?;
    emit(&view, output, |v| front::page(style, v))?;
    Ok(0)
}

/// The learner as the environment names them: [`LEARNER`], else the user's name.
fn learner_here() -> String {
    let named = std::env::var(LEARNER).ok().filter(|l| !l.is_empty());
    named.or_else(|| std::env::var("USER").ok()).unwrap_or_default()
}

/// `lab grade`: prints the grade, its record as JSON, or a line of CSV. 0 only for a full score.
async fn grade(place: &Place, ask: Ask, style: &PageStyle, output: Option<Report>) -> anyhow::Result<i32> {
    let graded: Graded = query(place, style.lang, ask).await?;
    match output {
        Some(Report::Json) => std::println!("{}", serde_json::to_string_pretty(&graded.record)?),
        Some(Report::Csv) => std::print!("{}", score::csv(&graded.record)),
        None => {
            let view: LabView = query(place, style.lang, Ask::Show).await?;
            print!("{}", front::grade(style, &graded, &view));
        }
    }
    Ok(if graded.record["score"] == graded.record["max"] { 0 } else { 1 })
}

/// `lab give-up`: shows the solution, after a question: the lab counts for nothing from then on.
async fn give_up(place: &Place, id: Option<String>, yes: bool, style: &PageStyle) -> anyhow::Result<i32> {
    let lang = style.lang;
    let view: LabView = query(place, lang, Ask::Show).await?;
    if !yes && !view.over && !view.id.is_empty() {
        eprint!("{}", front::gives_up(style, &view.title));
        if !consent::agreed(lang) {
            return Ok(1);
        }
    }
    // The one that was named in the question, and no other that was started meanwhile.
    let id = id.or_else(|| Some(view.id).filter(|id| !id.is_empty()));
    let told: GivenUp = query(place, lang, Ask::GiveUp { id }).await?;
    print!("{}", front::given_up(style, &told));
    Ok(0)
}

/// `lab leave`: ends the open lab, after a question that lists what is lost.
async fn leave(place: &Place, id: Option<String>, yes: bool, lang: Lang) -> anyhow::Result<i32> {
    let plan: Plan = query(place, lang, Ask::Plan { id: None, seed: None }).await?;
    if !yes && !consent::ends_lab(lang, &plan.ends, &plan.lost) {
        return Ok(1);
    }
    let leave = Ask::Leave { id, agreed: (!yes).then_some(plan) };
    let left: Left = query(place, lang, leave).await?;
    print!("{}", front::left(&PageStyle::for_output(lang), &left.title));
    if !left.note.is_empty() {
        println!("{}", left.note);
    }
    Ok(0)
}

/// What is wrong in the files of labs, a line each. A folder may be a stranger's, and its name have
/// letters that a terminal obeys.
fn fault_lines(labs: &Labs) -> Vec<String> {
    labs.faults.iter().map(|fault| harmless(&fault.to_string()).into_owned()).collect()
}

/// The labs that `lab test` shall prove: with `all` those that can be read. `None`: one is not
/// there, or none was named; it is said. (A directory without labs has a fault that says so.)
pub(super) fn chosen(labs: &Labs, ids: &[String], all: bool, lang: Lang) -> Option<Vec<Lab>> {
    if ids.is_empty() && !all {
        eprintln!("ropewalk: {}", lang.say(Word::NameLabs, &[]));
        return None;
    }
    let mut chosen: Vec<Lab> = if all { labs.labs.clone() } else { vec![] };
    for id in ids {
        match labs.get(id) {
            Some(lab) => chosen.push(lab.clone()),
            None => {
                eprintln!("ropewalk: {}", lang.say(Word::NoLab, &[&format!("{id:?}")]));
                return None;
            }
        }
    }
    Some(once(chosen, |lab| lab.id.as_str()))
}

/// `lab test --dry-run`: which labs need a cluster of their own, and how many were read.
fn list_chosen(labs: &Labs, chosen: &[Lab], lang: Lang) {
    for lab in chosen {
        if let Some(declared) = &lab.cluster {
            println!("{}", lang.say(Word::ProvedApart, &[&lab.id, &declared.to_string()]));
        }
    }
    let counts = [labs.labs.len(), labs.faults.len()].map(|count| count.to_string());
    println!("{}", lang.say(Word::LabsRead, &counts.each_ref().map(String::as_str)));
}

async fn query<T: serde::de::DeserializeOwned>(place: &Place, lang: Lang, ask: Ask) -> anyhow::Result<T> {
    front::asked(place, lang, ask).await.map_err(|e| anyhow!(e.say(lang)))
}

fn emit<T: serde::Serialize>(
    view: &T,
    output: Option<Output>,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    match output {
        Some(Output::Json) => std::println!("{}", serde_json::to_string_pretty(view)?),
        None => print!("{}", text(view)),
    }
    Ok(())
}

/// True if every task is green whose checks disturb nothing, and there is such a task.
fn all_green(view: &LabView) -> bool {
    view.tasks.iter().all(|t| t.green != Some(false)) && view.tasks.iter().any(|t| t.green == Some(true))
}

/// Grades come from the cluster at `place` if it runs; the list itself needs none. Without a place
/// the labs are not those of a cluster.
async fn list(
    place: Option<&Place>,
    labs: Arc<Labs>,
    style: &PageStyle,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let (running, code) = match place {
        Some(place) => if_running(front::asked(place, style.lang, Ask::List).await, style.lang),
        None => (None, 0),
    };
    let entries: Vec<Entry> =
        running.unwrap_or_else(|| labs.labs.iter().map(|lab| entry(lab, tag(style.lang))).collect());
    emit(&entries, output, |all| front::list(style, all))?;
    fault_lines(&labs).iter().for_each(|line| eprintln!("ropewalk: {line}"));
    Ok(if labs.faults.is_empty() { code } else { 1 })
}

/// The open lab of the cluster at `place` as it stands, or another one as a seed would draw it.
async fn show(
    place: Option<&Place>,
    labs: Arc<Labs>,
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
    let meant = id.as_ref().is_none_or(|id| *id == open.id) && seed.is_none_or(|s| s == open.seed);
    let view = match (id, meant && !open.id.is_empty()) {
        (_, true) => open,
        (None, false) => open,
        (Some(id), false) => {
            let Some(lab) = labs.get(&id) else {
                // It may be there, and what keeps it from being read is one of these.
                fault_lines(&labs).iter().for_each(|line| eprintln!("ropewalk: {line}"));
                eprintln!("ropewalk: {}", no_lab(&id, style.lang));
                return Ok(1);
            };
            sheet(lab, seed.unwrap_or(1), tag(style.lang))
        }
    };
    emit(&view, output, |v| front::page(style, v))?;
    Ok(if view.id.is_empty() { 1 } else { code })
}

/// How long a solution may take until it shows: pods are replaced, and nodes hear of them.
const TAKES_EFFECT: Duration = Duration::from_secs(30);

/// Through the REPL, as the learner.
async fn solve(place: &Place, id: Option<String>, seed: Option<u64>, lang: Lang) -> anyhow::Result<i32> {
    let played: Played = query(place, lang, Ask::Solve { id, seed }).await?;
    for line in &played.lines {
        println!("{}", lang.say(Say::LessonPlays, &[line]));
    }
    let options =
        Options { name: place.name.clone(), lines: played.lines, lang: Some(lang), ..Options::default() };
    let ran = repl::run(options).await;
    let _: Value = query(place, lang, Ask::Solved).await?; // else the learner's next acts count as the solution's
    let code = ran?;
    if code >= 128 {
        return Ok(code); // a signal: the process would not heed another one during the wait
    }
    let view: LabView = query(place, lang, Ask::Await { within_ms: TAKES_EFFECT.as_millis() as u64 }).await?;
    print!("{}", front::tasks(&PageStyle::for_output(lang), &view));
    Ok(if all_green(&view) { 0 } else { 1 })
}

/// `directory`: labs to compare with, instead of those in the binary. The variable that names one
/// does not count here: the record tells which labs were used.
fn verify(file: &Path, key: Option<&str>, directory: Option<&Path>, lang: Lang) -> anyhow::Result<i32> {
    let mut text = String::new();
    match file.as_os_str() == "-" {
        true => _ = std::io::stdin().read_to_string(&mut text)?,
        false => text = std::fs::read_to_string(file).map_err(|e| anyhow!("{}: {e}", file.display()))?,
    }
    let record = match seal::verify(&text) {
        Ok(record) => record,
        Err(why) => {
            eprintln!("ropewalk: {}: {}", file.display(), why.say(lang));
            return Ok(1);
        }
    };
    let signer = record["signature"]["key"].as_str().unwrap_or_default();
    let shown = harmless(signer);
    if key.is_some_and(|key| key != signer) {
        eprintln!("ropewalk: {}: {}", file.display(), lang.say(Say::OtherKey, &[&shown]));
        return Ok(1);
    }
    let word = |key: &str| word(&record, key);
    let with = [
        learner_of(lang, &record),
        word("lab"),
        word("seed"),
        word("score"),
        word("max"),
        shown.into_owned(),
    ];
    println!("{}", lang.say(Say::LabVerified, &with.each_ref().map(String::as_str)));
    for line in front::remarks(lang, &record) {
        println!("{line}");
    }
    let labs = directory.map_or_else(Labs::built_in, |directory| Labs::read(directory).into());
    let other = other_lab(&labs, &record, lang);
    other.iter().for_each(|line| eprintln!("ropewalk: {line}"));
    Ok(if other.is_empty() { 0 } else { 1 })
}

/// Says why the lab of a record is none of these; empty if it is one. It may be there and cannot be
/// read: then the faults of the files are named first.
fn other_lab(labs: &Labs, record: &Value, lang: Lang) -> Vec<String> {
    let known = labs.get(record["lab"].as_str().unwrap_or_default());
    if known.is_some_and(|lab| record["content"] == lab.content.as_str()) {
        return vec![];
    }
    let mut lines = if known.is_none() { fault_lines(labs) } else { vec![] };
    let with = ["lab", "labs", "ropewalk", "content"].map(|key| word(record, key));
    lines.push(lang.say(Say::LabOther, &with.each_ref().map(String::as_str)));
    lines
}

/// The learner of a record, or that it names none.
fn learner_of(lang: Lang, record: &Value) -> String {
    match record["learner"].as_str() {
        None | Some("") => lang.say(Say::LabNoLearner, &[]),
        Some(_) => word(record, "learner"),
    }
}

/// A field of another person's record, without what a terminal would obey.
fn word(record: &Value, key: &str) -> String {
    match &record[key] {
        Value::String(text) => harmless(text).into_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn labs_are_shown_without_grades_and_with_the_error_if_the_cluster_gives_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let (style, id) = (PageStyle::for_output(Lang::En), || Some("broken-selector".to_string()));
        let codes = async || {
            let listed = list(Some(&place), Labs::built_in(), &style, None).await.unwrap();
            (listed, show(Some(&place), Labs::built_in(), id(), None, &style, None).await.unwrap())
        };
        assert_eq!(codes().await, (0, 0), "it does not run");
        // Whether the cluster behind this runs cannot be found out.
        std::os::unix::fs::symlink(place.socket(), place.socket()).unwrap();
        assert_eq!(codes().await, (1, 1));
    }

    /// `--all` was given, so that it is missing would be a wrong answer.
    #[test]
    fn labs_that_cannot_be_read_are_told_with_their_faults() {
        let dir = tempfile::tempdir().unwrap();
        assert!(fault_lines(&Labs::read(dir.path())).join("\n").contains("there are no labs here"));
        let folder = dir.path().join("a\u{1b}[2Jb");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("lab.md"), "---\nidd: y\n---\n").unwrap();
        let labs = Labs::read(dir.path());
        assert_eq!(chosen(&labs, &[], true, Lang::En).map(|labs| labs.len()), Some(0));
        assert!(chosen(&labs, &[], false, Lang::En).is_none());
        assert!(chosen(&labs, &["x".into()], false, Lang::Ko).is_none());
        let told = fault_lines(&labs).join("\n");
        assert!(told.contains("a[2Jb/lab.md") && told.contains("unknown key"), "{told:?}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }

    /// A mistyped directory would read as a record of another lab.
    #[test]
    fn a_record_whose_lab_cannot_be_read_is_told_with_the_fault() {
        let built_in = Labs::built_in();
        let content = built_in.get("broken-selector").expect("it is built in").content.as_str();
        let record = |content: &str| serde_json::json!({"lab": "broken-selector", "content": content});
        let said = |labs: &Labs, content: &str| other_lab(labs, &record(content), Lang::En);
        assert_eq!(said(&built_in, content), Vec::<String>::new());
        let changed = said(&built_in, "sha256:other");
        assert!(changed.len() == 1 && changed[0].contains("sha256:other"), "{changed:?}");
        let dir = tempfile::tempdir().unwrap();
        let absent = said(&Labs::read(&dir.path().join("absent")), content);
        assert!(absent.len() == 2 && absent[0].contains("absent"), "{absent:?}");
    }

    /// The fields of another person's record could hide the score on a terminal, or write lines of
    /// their own.
    #[test]
    fn a_record_gives_the_terminal_no_orders() {
        let record = serde_json::json!({"learner": "Kim, 100 of 100\u{1b}[8m\nx", "score": 0});
        assert_eq!(word(&record, "learner"), "Kim, 100 of 100[8mx");
        assert_eq!(word(&record, "score"), "0");
    }

    #[test]
    fn an_empty_id_is_no_lab() {
        let hint = |id: Option<&str>| Command::Hint { id: id.map(String::from) };
        let start = |id: &str| Command::Start { id: id.into(), seed: None, yes: false, output: None };
        assert_eq!((empty_id(&hint(Some(""))), empty_id(&start(" "))), (Some(""), Some(" ")));
        assert_eq!(empty_id(&hint(None)), None, "the open lab");
        assert!(empty_id(&hint(Some("x"))).is_none() && empty_id(&start("x")).is_none());
    }

    #[test]
    fn a_record_may_name_no_learner() {
        let of = |record: Value| learner_of(Lang::En, &record);
        assert_eq!(of(serde_json::json!({"learner": "Kim"})), "Kim");
        for record in [serde_json::json!({"learner": ""}), serde_json::json!({})] {
            assert_eq!(of(record), "no learner named");
        }
    }
}
