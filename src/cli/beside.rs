//! A session on the cluster that a lesson or lab declares, beside the learner's own.

use crate::named::{of_file, option};
use crate::words::no_lesson;
use anyhow::anyhow;
use cluster::control::Control;
use cluster::guest::Offers;
use cluster::{Error, Home, Spec, foreign};
use lab::format::{Lesson, Library};
use lab::view::Elsewhere;
use lang::charset::eprintln;
use lang::typed;
use ui::options::Options;
use ui::prose::harmless;
use ui::texts::Say;
use ui::{beside, consent, repl, settings};

/// Opens a session at a lesson: on the learner's cluster, or on the declared one if that is
/// another. `sure`: the learner is not asked first.
pub(crate) async fn learn(options: Options, sure: bool) -> anyhow::Result<i32> {
    if let Some(problem) = missing_lesson(&options).await? {
        eprintln!("ropewalk: {problem}");
        return Ok(1);
    }
    match declared_by(&options)? {
        Some(there) => session(options, there, sure).await,
        None => Ok(repl::run(Options { sure, ..options }).await?),
    }
}

/// Returns the text that there is no such lesson, before a cluster is started for it. A cluster
/// that runs has lessons of its own, and its session prints the text. `None`: the lesson may be
/// there.
async fn missing_lesson(options: &Options) -> anyhow::Result<Option<String>> {
    let Some(word) = &options.lesson else { return Ok(None) };
    let home = Home::find()?;
    let place = match &options.kubeconfig {
        Some(file) => foreign::place(&home, file)?,
        None => home.cluster(&options.name)?,
    };
    let library = Library::load();
    if may_mean(&library, word) || !matches!(Control::connect(&place).await, Err(Error::NotRunning(_))) {
        return Ok(None);
    }
    for fault in &library.faults {
        eprintln!("ropewalk: {}", harmless(&fault.to_string())); // it may be the lesson's
    }
    let lang = settings::language(options.lang, &home);
    let there = options.kubeconfig.as_ref().map_or_else(|| option(&options.name), |file| of_file(file));
    Ok(Some(typed::in_shell(&no_lesson(word, lang), &there)))
}

/// True if a word means a lesson. A number alone means one of the track in which the learner is,
/// which only the cluster knows.
fn may_mean(library: &Library, word: &str) -> bool {
    let in_track = |lesson: &Lesson| library.find(word, Some(&lesson.track)).is_some();
    library.find(word, None).is_some() || library.lessons.iter().any(in_track)
}

/// The lesson that is to be opened and its cluster, if the learner's own does not fit.
fn declared_by(options: &Options) -> anyhow::Result<Option<Elsewhere>> {
    let (Some(word), None) = (&options.lesson, &options.kubeconfig) else { return Ok(None) };
    let library = Library::load();
    // A session on a cluster that runs says that there is no such lesson.
    let Some(lesson) = library.find(word, None) else { return Ok(None) };
    let Some(declared) = &lesson.cluster else { return Ok(None) };
    let own = Home::find()?.cluster(&options.name)?;
    let spec = Spec::load(&own)?.unwrap_or_else(|| Spec::new(&own.name));
    let (control_planes, workers) = (spec.control_planes, spec.workers);
    let offers = Offers { own: !own.foreign().exists(), workers, control_planes };
    let there = Elsewhere { id: lesson.id.clone(), cluster: declared.clone(), lab: false, seed: None };
    Ok((!declared.fits(&offers)).then_some(there))
}

/// A session on the cluster of a lesson or lab, which is removed at its end.
pub(crate) async fn session(options: Options, there: Elsewhere, sure: bool) -> anyhow::Result<i32> {
    typed::read_at_prompt(); // what the offer names is typed there
    let home = Home::find()?;
    let lang = settings::language(options.lang, &home);
    let own = home.cluster(&options.name)?;
    if !sure {
        let megabytes = beside::megabytes(&own, &there.cluster).await;
        eprintln!("{}", beside::offer(lang, &there, megabytes, &own.name));
        if !consent::agreed(lang) {
            return Ok(1);
        }
    }
    let place = beside::prepare(&own, &there, lang).await.map_err(|why| anyhow!(why))?;
    let options = match there.lab {
        true => Options { lab: Some((there.id, there.seed)), lesson: None, ..options },
        false => Options { lesson: Some(there.id), ..options },
    };
    let code = repl::run(Options { name: place.name.clone(), api_port: None, ..options }).await;
    beside::finish(&own, &place, lang).await.map_err(|why| anyhow!(why))?;
    eprintln!("{}", lang.say(Say::BesideGone, &[&place.name, &own.name]));
    Ok(code?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lesson::new;
    use ui::texts::Lang;

    /// It took 13 seconds to hear that a name was mistyped.
    #[tokio::test]
    async fn no_cluster_is_started_for_a_lesson_that_is_not_there() {
        let options = |word: &str| Options {
            name: "no-such-cluster-of-a-test".into(),
            lesson: Some(word.into()),
            lang: Some(Lang::En),
            ..Options::default()
        };
        let problem = missing_lesson(&options("nope")).await.unwrap().unwrap_or_default();
        assert_eq!(
            problem,
            "there is no lesson nope; `ropewalk lesson --name no-such-cluster-of-a-test list` shows them"
        );
        assert_eq!(missing_lesson(&options("first-voyage/04")).await.unwrap(), None);
    }

    #[test]
    fn a_number_may_mean_a_lesson_of_any_track() {
        let dir = tempfile::tempdir().unwrap();
        for id in ["harbour/01-first", "shore/07-last"] {
            new::new(dir.path(), id, Lang::En).unwrap();
        }
        let library = Library::read(dir.path());
        for word in ["harbour/01-first", "harbour/1", "1", "07", "shore/07"] {
            assert!(may_mean(&library, word), "{word}");
        }
        for word in ["", "nope", "2", "harbour/07", "sea/01"] {
            assert!(!may_mean(&library, word), "{word}");
        }
    }
}
