//! A session on the cluster that a lesson or lab declares, beside the learner's own.

use anyhow::anyhow;
use cluster::guest::Offers;
use cluster::{Home, Spec};
use lab::format::Library;
use lab::view::Elsewhere;
use lang::charset::eprintln;
use ui::options::Options;
use ui::texts::Say;
use ui::{beside, consent, repl, settings};

/// Opens a session at a lesson: on the learner's cluster, or on the declared one if that is
/// another. `sure`: the learner is not asked first.
pub(crate) async fn learn(options: Options, sure: bool) -> anyhow::Result<i32> {
    match declared_by(&options)? {
        Some(there) => session(options, there, sure).await,
        None => Ok(repl::run(Options { sure, ..options }).await?),
    }
}

/// The lesson that is to be opened and its cluster, if the learner's own does not fit.
fn declared_by(options: &Options) -> anyhow::Result<Option<Elsewhere>> {
    let (Some(word), None) = (&options.lesson, &options.kubeconfig) else { return Ok(None) };
    let library = Library::load();
    // The session says that there is no such lesson.
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
