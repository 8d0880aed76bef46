//! The cluster that a lesson or lab declares, beside the learner's own: started for it, and removed
//! when it ends. What a killed session left is removed at the next start.

use super::connection;
use super::memory;
use super::texts::{Lang, Say};
use super::{guests, lesson};
use cluster::control::{self, Control};
use cluster::launch::{self, Launched};
use cluster::{Error, Place, kubeconfig, wipe};
use lab::format::{Declared, declared};
use lab::graded::lent;
use lab::graded::view::Ask as LabAsk;
use lab::progress::Progress;
use lab::view::{Ask, Elsewhere};
use lang::charset::eprintln;
use std::path::PathBuf;

/// Says that a directory was made for a lesson or lab; no other one is ever removed.
fn mark(place: &Place) -> PathBuf {
    place.root.join("declared")
}

fn notes(place: &Place) -> PathBuf {
    place.root.join("lessons.json")
}

/// Returns whether this cluster was made for a lesson or lab.
pub(crate) fn is_declared(place: &Place) -> bool {
    mark(place).exists()
}

/// Offers the cluster of a lesson or lab beside the learner's own, with its name and what it costs.
pub fn offer(lang: Lang, there: &Elsewhere, megabytes: u32, own: &str) -> String {
    let numbers = [there.cluster.control_planes.into(), there.cluster.workers.into(), megabytes];
    let [control_planes, workers, memory] = numbers.map(|number: u32| number.to_string());
    let (what, leave) = match there.lab {
        true => (Say::BesideLab, "lab leave"),
        false => (Say::BesideLesson, "lesson leave"),
    };
    let what = lang.say(what, &[&there.id]);
    lang.say(Say::BesideOffer, &[&what, &control_planes, &workers, own, &memory, leave])
}

/// The memory in megabytes that a declared cluster will take: what the learner's own takes for each
/// of its nodes now, if it runs and can be measured, else the usual.
pub async fn megabytes(own: &Place, declared: &Declared) -> u32 {
    let measured = async {
        let status = Control::connect(own).await.ok()?.ask(&control::Ask::Status).await.ok()?;
        let nodes = status["nodes"].as_array().map_or(0, Vec::len);
        let supervisor = i32::try_from(status["pids"]["supervisor"].as_i64()?).ok()?;
        let bytes = tokio::task::spawn_blocking(move || memory::of_tree(supervisor)).await.ok()??;
        memory::share(bytes, nodes, declared.nodes())
    };
    measured.await.unwrap_or_else(|| declared.megabytes())
}

/// Makes the directory of a declared cluster, which can be started then. Returns its place.
///
/// # Errors
/// One of the same name runs or was not made for a lesson, or files cannot be written; the text is
/// for people.
pub async fn prepare(own: &Place, there: &Elsewhere, lang: Lang) -> Result<Place, String> {
    let text = |error: Error| error.say(lang);
    let place = own.home.cluster(&declared::beside(&own.name)).map_err(text)?;
    make_room(own, &place, lang).await?;
    own.make().map_err(text)?;
    // The mark comes first: whatever fails behind it, the directory is known as a lesson's.
    let marked = std::fs::create_dir_all(&place.root).and_then(|()| std::fs::write(mark(&place), &there.id));
    marked.map_err(|error| format!("{}: {error}", mark(&place).display()))?;
    place.make().map_err(text)?;
    if let Err(error) = lent::lend(own, &place)
        && there.lab
    {
        return Err(error.say(lang)); // a lesson can do without
    }
    there.cluster.spec(&place.name).save(&place).map_err(text)?;
    Ok(place)
}

/// Removes a declared cluster that has ended.
///
/// # Errors
/// It still runs or cannot be removed; the text is for people.
pub async fn finish(own: &Place, place: &Place, lang: Lang) -> Result<(), String> {
    let has_ended = ended(place).await;
    // A context in the learner's own file would lead nowhere, unless the cluster still runs.
    let target = kubeconfig::default_kubeconfig().filter(|_| has_ended);
    let unmerged = target.map(|target| kubeconfig::remove_from(place, &target));
    let made = make_room(own, place, lang).await;
    match unmerged {
        Some(Err(error)) if made.is_ok() => Err(error.say(lang)),
        _ => made,
    }
}

/// Removes what a session that was killed has left beside this cluster. Returns a sentence about
/// it, or why it is not removed; `None`: there is nothing, or it is in use.
pub(crate) async fn sweep(own: &Place, lang: Lang) -> Option<String> {
    let (place, id) = left_beside(own).await?;
    Some(match make_room(own, &place, lang).await {
        Ok(()) => lang.say(Say::BesideSwept, &[&place.name, &id]),
        Err(why) => why,
    })
}

/// Removes what [`sweep`] would, beside a cluster that is wiped: what was learnt there goes with
/// the rest.
pub async fn wipe_left(own: &Place, lang: Lang) -> Option<String> {
    let (place, id) = left_beside(own).await?;
    Some(match remove(&place, lang) {
        Ok(()) => lang.say(Say::BesideWiped, &[&place.name, &id]),
        Err(why) => why,
    })
}

fn remove(place: &Place, lang: Lang) -> Result<(), String> {
    let held = launch::hold(place).map_err(|error| error.say(lang))?;
    let held = held.ok_or_else(|| lang.say(Say::BesideRuns, &[&place.name]))?;
    let removed = wipe::cluster(place, &held);
    removed.map(drop).map_err(|error| format!("{}: {error}", place.root.display()))
}

/// The cluster that a session that was killed has left beside this one, and the lesson or lab that
/// it was made for.
async fn left_beside(own: &Place) -> Option<(Place, String)> {
    let place = own.home.cluster(&declared::beside(&own.name)).ok()?;
    if place.name == own.name || own.foreign().exists() || !is_declared(&place) || !ended(&place).await {
        return None;
    }
    let id = std::fs::read_to_string(mark(&place)).unwrap_or_default();
    Some((place, super::prose::harmless(&id).trim().to_string()))
}

/// Returns whether nothing is in a cluster's directory. It is left of one that could not be made.
fn is_empty(place: &Place) -> bool {
    std::fs::read_dir(&place.root).is_ok_and(|mut entries| entries.next().is_none())
}

async fn ended(place: &Place) -> bool {
    matches!(Control::connect(place).await, Err(Error::NotRunning(_)))
}

/// Removes the declared cluster of an earlier session, if there is one; what was learnt on it is
/// kept.
///
/// # Errors
/// It runs, it was not made for a lesson, or it cannot be removed. Or what was learnt cannot be
/// kept: then the learner does it once more, unless the cluster stays for the next session, which
/// may succeed ([`Untaken::may_be_later`]).
async fn make_room(own: &Place, place: &Place, lang: Lang) -> Result<(), String> {
    let runs = || lang.say(Say::BesideRuns, &[&place.name]);
    if !ended(place).await {
        return Err(runs());
    }
    if !place.root.exists() || is_empty(place) {
        return Ok(());
    }
    if !is_declared(place) {
        return Err(lang.say(Say::BesideOther, &[&place.name, &place.name]));
    }
    let Some(held) = launch::hold(place).map_err(|error| error.say(lang))? else { return Err(runs()) };
    let home = [take_home(own, place, lang).await, take_labs_home(own, place, lang).await];
    let untaken: Vec<Untaken> = home.into_iter().filter_map(Result::err).collect();
    if let Some(later) = untaken.iter().find(|untaken| untaken.may_be_later) {
        return Err(later.why.clone());
    }
    let wiped = wipe::cluster(place, &held);
    wiped.map_err(|error| format!("{}: {error}", place.root.display()))?;
    untaken.into_iter().next().map_or(Ok(()), |untaken| Err(untaken.why))
}

/// Something that was learnt on the declared cluster and could not be noted with the learner's own.
struct Untaken {
    /// For people.
    why: String,
    /// The learner's own cluster was too busy to answer, or just ended, or its file could not be
    /// written, e.g. on a full disk.
    may_be_later: bool,
}

impl Untaken {
    /// After this answer of the learner's own cluster.
    fn answered(error: &Error, lang: Lang) -> Untaken {
        let may_be_later = matches!(error, Error::Hangs { .. } | Error::Ended | Error::File { .. });
        Untaken { why: error.say(lang), may_be_later }
    }

    /// After this error at a file. One that is damaged, or of a newer program, stays so.
    fn unusable(error: &lab::Error, lang: Lang) -> Untaken {
        Untaken { why: error.say(lang), may_be_later: matches!(error, lab::Error::File { .. }) }
    }
}

/// Notes the steps that were done on the declared cluster with the learner's own, which may run.
async fn take_home(own: &Place, place: &Place, lang: Lang) -> Result<(), Untaken> {
    let unusable = |error: lab::Error| Untaken::unusable(&error, lang);
    let progress = Progress::load(&notes(place)).map_err(unusable)?;
    if own.name == place.name || progress.lessons.is_empty() {
        return Ok(());
    }
    match lesson::ask(own, lang, Ask::Learnt { progress: progress.clone() }).await {
        Ok(_) => Ok(()),
        Err(Error::NotRunning(_)) => {
            own.make().map_err(|error| Untaken::answered(&error, lang))?;
            let mut kept = Progress::load(&notes(own)).map_err(unusable)?;
            kept.learn(&progress);
            kept.save(&notes(own)).map_err(unusable)
        }
        Err(other) => Err(Untaken::answered(&other, lang)),
    }
}

/// Notes the attempts at labs on the declared cluster with the learner's own.
async fn take_labs_home(own: &Place, place: &Place, lang: Lang) -> Result<(), Untaken> {
    let Some(book) = lent::sealed(place).filter(|book| own.name != place.name && is_used(book)) else {
        return Ok(());
    };
    match guests::ask(own, lang, LabAsk::Learnt { book: book.clone() }).await {
        Ok(_) => Ok(()),
        Err(Error::NotRunning(_)) => match lent::keep(own, &book) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Untaken { why: lang.say(Say::BesideEdited, &[]), may_be_later: false }),
            Err(lab::graded::Error::Lab(error)) => Err(Untaken::unusable(&error, lang)),
            Err(error) => Err(Untaken { why: error.say(lang), may_be_later: false }),
        },
        Err(other) => Err(Untaken::answered(&other, lang)),
    }
}

/// Returns whether the book of labs was written since it was lent.
fn is_used(book: &serde_json::Value) -> bool {
    book["counter"].as_u64().is_some_and(|counter| counter > 1)
}

/// A cluster that was started for a lesson or lab, and the learner's own that is gone back to.
pub(crate) struct Beside {
    own: Place,
    place: Place,
    launched: Launched,
}

impl Beside {
    /// Starts the cluster, and does not wait for its start to be complete.
    ///
    /// # Errors
    /// Those of [`prepare`], or it cannot be started; the text is for people.
    pub(crate) async fn start(own: Place, there: &Elsewhere, lang: Lang) -> Result<Beside, String> {
        let place = prepare(&own, there, lang).await?;
        match connection::launch_silently(&place).await {
            Ok(launched) => Ok(Beside { own, place, launched }),
            Err(error) => {
                let _ = make_room(&own, &place, lang).await; // why it did not start is worth more
                Err(error.say(lang))
            }
        }
    }

    /// The directory of the cluster that was started.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Ends the cluster and removes it.
    ///
    /// # Errors
    /// Those of [`finish`].
    pub(crate) async fn end(self, lang: Lang) -> Result<(), String> {
        connection::end(self.launched).await;
        finish(&self.own, &self.place, lang).await
    }

    /// Ends the cluster and removes it. What goes wrong is printed on standard error: the
    /// interface, which would show it, is closed.
    pub(crate) async fn end_or_say(self, lang: Lang) {
        if let Err(why) = self.end(lang).await {
            eprintln!("ropewalk: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::Home;

    fn places() -> (tempfile::TempDir, Place, Place) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let own = home.cluster("main").unwrap();
        let place = home.cluster(&declared::beside(&own.name)).unwrap();
        (dir, own, place)
    }

    fn lesson() -> Elsewhere {
        let cluster = Declared { control_planes: 3, workers: 2 };
        Elsewhere { id: "hard-way/03".into(), cluster, lab: false, seed: None }
    }

    /// As a session that is killed leaves it.
    fn left(place: &Place) {
        place.make().unwrap();
        std::fs::write(mark(place), "t/01").unwrap();
        let mut progress = Progress { format: lab::progress::FORMAT, ..Progress::default() };
        progress.step("t/01", "make").done = true;
        progress.step("t/01", "look").since = 7;
        progress.save(&notes(place)).unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_session_left_goes_and_what_was_learnt_stays() {
        let (_dir, own, place) = places();
        make_room(&own, &place, Lang::En).await.unwrap();
        left(&place);
        make_room(&own, &place, Lang::En).await.unwrap();
        assert!(!place.root.exists());
        let kept = Progress::load(&notes(&own)).unwrap();
        assert!(kept.noted_step("t/01", "make").unwrap().done && kept.noted_step("t/01", "look").is_none());
        assert_eq!(kept.open, None, "nothing of it is open on the learner's own cluster");
    }

    /// As long as a build takes all processors.
    #[tokio::test(start_paused = true)]
    async fn what_was_learnt_stays_until_the_learners_own_cluster_can_take_it() {
        let (_dir, own, place) = places();
        own.make().unwrap();
        left(&place);
        let silent = tokio::net::UnixListener::bind(own.socket()).unwrap();
        let why = make_room(&own, &place, Lang::En).await.unwrap_err();
        assert!(Progress::load(&notes(&place)).unwrap().noted_step("t/01", "make").unwrap().done, "{why}");
        // It has ended. A process that another test is just making still has a copy of the socket:
        // only without its file is the cluster gone for certain.
        drop(silent);
        std::fs::remove_file(own.socket()).unwrap();
        make_room(&own, &place, Lang::En).await.unwrap();
        assert!(!place.root.exists());
        assert!(Progress::load(&notes(&own)).unwrap().noted_step("t/01", "make").unwrap().done);
        // It cannot be read later either: no declared cluster could ever begin.
        left(&place);
        std::fs::write(notes(&own), "{").unwrap();
        make_room(&own, &place, Lang::En).await.unwrap_err();
        assert!(!place.root.exists());
    }

    #[tokio::test]
    async fn a_start_says_in_one_sentence_that_the_left_cluster_is_removed() {
        let (_dir, own, place) = places();
        assert_eq!(sweep(&own, Lang::En).await, None, "there is none");
        for lang in [Lang::En, Lang::Ko] {
            left(&place);
            let said = sweep(&own, lang).await.unwrap();
            assert!(said.contains("main-lesson") && said.contains("t/01"), "{said}");
            assert!(!said.contains('\n') && !place.root.exists(), "{said}");
        }
        left(&place);
        assert_eq!(sweep(&place, Lang::En).await, None, "it does not remove itself");
        std::fs::remove_file(mark(&place)).unwrap();
        assert_eq!(sweep(&own, Lang::En).await, None);
        assert!(place.root.exists(), "the learner made it");
    }

    /// `reset` removed the learner's own cluster and left this one until the next session.
    #[tokio::test]
    async fn a_wiped_cluster_takes_along_what_a_killed_session_left_beside_it() {
        let (_dir, own, place) = places();
        assert_eq!(wipe_left(&own, Lang::En).await, None, "there is none");
        left(&place);
        let said = wipe_left(&own, Lang::En).await.unwrap();
        assert!(said.contains("main-lesson") && said.contains("t/01"), "{said}");
        assert!(!place.root.exists() && !own.root.exists(), "nothing is noted with a wiped cluster");
        place.make().unwrap();
        assert_eq!(wipe_left(&own, Lang::En).await, None);
        assert!(place.root.exists(), "the learner made it");
    }

    #[tokio::test]
    async fn a_cluster_of_that_name_that_the_learner_made_stays() {
        let (_dir, own, place) = places();
        place.make().unwrap();
        let why = make_room(&own, &place, Lang::En).await.unwrap_err();
        assert!(why.contains("ropewalk reset --name main-lesson") && place.root.exists(), "{why}");
    }

    /// On a full disk, or by a session that is killed.
    #[tokio::test]
    async fn a_directory_that_could_not_be_filled_keeps_no_lesson_from_beginning() {
        let (_dir, own, place) = places();
        std::fs::create_dir_all(&place.root).unwrap();
        prepare(&own, &lesson(), Lang::En).await.unwrap();
        assert!(is_declared(&place));
    }

    #[tokio::test]
    async fn a_declared_cluster_is_prepared_with_its_nodes_and_the_learners_key() {
        let (_dir, own, _) = places();
        let place = prepare(&own, &lesson(), Lang::En).await.unwrap();
        let spec = cluster::Spec::load(&place).unwrap().unwrap();
        assert_eq!((spec.control_planes, spec.workers, is_declared(&place)), (3, 2, true));
        let key = |place: &Place| std::fs::read(place.pki().join("records.key")).unwrap();
        assert_eq!(key(&own), key(&place));
        assert!(!is_used(&lent::sealed(&place).unwrap()), "no lab was started there");
        finish(&own, &place, Lang::En).await.unwrap();
        assert!(!place.root.exists() && own.root.exists());
    }

    #[tokio::test]
    async fn an_offer_says_what_it_costs_and_how_it_ends() {
        let (_dir, own, _) = places();
        let megabytes = megabytes(&own, &lesson().cluster).await;
        assert_eq!(megabytes, 125, "nothing runs that could be measured");
        let lab = Elsewhere { id: "quorum-lost".into(), lab: true, ..lesson() };
        for lang in [Lang::En, Lang::Ko] {
            let told = offer(lang, &lesson(), megabytes, "main");
            let parts = ["hard-way/03", "3", "(main)", "125 MB", "`lesson leave`"];
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
            let told = offer(lang, &lab, 61, "main");
            assert!(["quorum-lost", "61 MB", "`lab leave`"].iter().all(|p| told.contains(p)), "{told}");
            assert!(!told.contains("{}"), "{told}");
        }
    }
}
