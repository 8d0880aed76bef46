//! A lesson on the cluster that it declares, beside the learner's own: started for it, and removed
//! when its session ends. What a killed session left is removed before the next one.

use anyhow::{Context, bail};
use cluster::control::Control;
use cluster::guest::Offers;
use cluster::{Error, Home, Place, Spec, kubeconfig, launch, wipe};
use lab::format::{Declared, Library, declared};
use lab::progress::Progress;
use lab::view::Ask;
use lang::Lang;
use lang::charset::eprintln;
use std::path::PathBuf;
use ui::options::Options;
use ui::texts::Say;
use ui::{consent, lesson as front, repl, settings};

/// Says that a directory was made for a lesson; no other one is ever removed.
fn mark(place: &Place) -> PathBuf {
    place.root.join("declared")
}

fn notes(place: &Place) -> PathBuf {
    place.root.join("lessons.json")
}

/// Opens a session at a lesson: on the learner's cluster, or on the declared one if that is
/// another. `sure`: the learner is not asked first.
pub(crate) async fn learn(options: Options, sure: bool) -> anyhow::Result<i32> {
    match declared_by(&options)? {
        Some((id, declared)) => beside(options, id, &declared, sure).await,
        None => Ok(repl::run(options).await?),
    }
}

/// The lesson that is to be opened and its cluster, if the learner's own does not fit.
fn declared_by(options: &Options) -> anyhow::Result<Option<(String, Declared)>> {
    let (Some(word), None) = (&options.lesson, &options.kubeconfig) else { return Ok(None) };
    let library = Library::load();
    // The session says that there is no such lesson.
    let Some(lesson) = library.find(word, None) else { return Ok(None) };
    let Some(declared) = &lesson.cluster else { return Ok(None) };
    let own = Home::find()?.cluster(&options.name)?;
    let spec = Spec::load(&own)?.unwrap_or_else(|| Spec::new(&own.name));
    let (control_planes, workers) = (spec.control_planes, spec.workers);
    let offers = Offers { own: !own.foreign().exists(), workers, control_planes };
    Ok((!declared.fits(&offers)).then(|| (lesson.id.clone(), declared.clone())))
}

async fn beside(options: Options, id: String, declared: &Declared, sure: bool) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(options.lang, &home);
    let own = home.cluster(&options.name)?;
    let place = home.cluster(&declared::beside(&own.name))?;
    if !sure {
        eprintln!("{}", front::offer(lang, &id, declared, &own.name));
        if !consent::agreed(lang) {
            return Ok(1);
        }
    }
    make_room(&own, &place, lang).await?;
    place.make()?;
    std::fs::write(mark(&place), &id).with_context(|| mark(&place).display().to_string())?;
    declared.spec(&place.name).save(&place)?;
    let options = Options { name: place.name.clone(), lesson: Some(id), api_port: None, ..options };
    let code = repl::run(options).await;
    // A context in the learner's own file would lead nowhere.
    if let Some(target) = kubeconfig::default_kubeconfig()
        && let Err(error) = kubeconfig::remove_from(&place, &target)
    {
        eprintln!("ropewalk: {}", error.say(lang));
    }
    make_room(&own, &place, lang).await?;
    eprintln!("{}", lang.say(Say::BesideGone, &[&place.name, &own.name]));
    Ok(code?)
}

/// Removes the declared cluster of an earlier session, if there is one; what was learnt on it is
/// kept.
///
/// # Errors
/// It runs, it was not made for a lesson, or it cannot be removed.
async fn make_room(own: &Place, place: &Place, lang: Lang) -> anyhow::Result<()> {
    if !matches!(Control::connect(place).await, Err(Error::NotRunning(_))) {
        bail!("{}", lang.say(Say::BesideRuns, &[&place.name]));
    }
    if !place.root.exists() {
        return Ok(());
    }
    if !mark(place).exists() {
        bail!("{}", lang.say(Say::BesideOther, &[&place.name, &place.name]));
    }
    let Some(held) = launch::hold(place)? else {
        bail!("{}", lang.say(Say::BesideRuns, &[&place.name]));
    };
    if let Err(error) = take_home(own, place, lang).await {
        eprintln!("ropewalk: {error:#}"); // the steps are to be done once more
    }
    wipe::cluster(place, &held).with_context(|| format!("cannot remove {}", place.root.display()))?;
    Ok(())
}

/// Notes the steps that were done on the declared cluster with the learner's own, which may run.
async fn take_home(own: &Place, place: &Place, lang: Lang) -> anyhow::Result<()> {
    let progress = Progress::load(&notes(place))?;
    if own.name == place.name || progress.lessons.is_empty() {
        return Ok(());
    }
    match front::ask(own, lang, Ask::Learnt { progress: progress.clone() }).await {
        Ok(_) => Ok(()),
        Err(Error::NotRunning(_)) => {
            own.make()?;
            let mut kept = Progress::load(&notes(own))?;
            kept.learn(&progress);
            Ok(kept.save(&notes(own))?)
        }
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> (tempfile::TempDir, Place, Place) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let own = home.cluster("main").unwrap();
        let place = home.cluster(&declared::beside(&own.name)).unwrap();
        (dir, own, place)
    }

    /// As after a session that was killed.
    #[tokio::test]
    async fn what_a_killed_session_left_goes_and_what_was_learnt_stays() {
        let (_dir, own, place) = places();
        make_room(&own, &place, Lang::En).await.unwrap();
        place.make().unwrap();
        std::fs::write(mark(&place), "t/01").unwrap();
        let mut progress = Progress { format: lab::progress::FORMAT, ..Progress::default() };
        progress.step("t/01", "make").done = true;
        progress.step("t/01", "look").since = 7;
        progress.save(&notes(&place)).unwrap();
        make_room(&own, &place, Lang::En).await.unwrap();
        assert!(!place.root.exists());
        let kept = Progress::load(&notes(&own)).unwrap();
        assert!(kept.look("t/01", "make").unwrap().done && kept.look("t/01", "look").is_none());
        assert_eq!(kept.open, None, "nothing of it is open on the learner's own cluster");
    }

    #[tokio::test]
    async fn a_cluster_of_that_name_that_the_learner_made_stays() {
        let (_dir, own, place) = places();
        place.make().unwrap();
        let why = make_room(&own, &place, Lang::En).await.unwrap_err().to_string();
        assert!(why.contains("ropewalk reset --name main-lesson") && place.root.exists(), "{why}");
    }
}
