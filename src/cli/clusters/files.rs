//! `reset` and `kubeconfig`: the files of a cluster.

use super::stop::stop;
use super::{has_kubeconfig, refuse, say};
use anyhow::{Context, anyhow, bail};
use cluster::home::Home;
use cluster::{Error, Place, Refusal, kubeconfig, launch, wipe};
use lang::charset::{eprint, eprintln, println};
use std::io::{ErrorKind, IsTerminal};
use ui::texts::Say;
use ui::{beside, consent, settings};

/// `reset`: ends a cluster and removes its files, after a question.
pub(crate) async fn reset(name: &str, yes: bool) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    let lang = settings::language(None, &place.home);
    if !is_there(&place)? {
        let left = beside::wipe_left(&place, lang).await;
        eprintln!("{}", left.unwrap_or_else(|| lang.say(Say::NoCluster, &[name])));
        return Ok(0);
    }
    let names = cluster::foreign::kept(&place)?;
    if !names.is_empty() {
        let ledger = place.foreign().display().to_string();
        return Err(refuse(Refusal::ForeignNamespaces { names, ledger }));
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("{}", lang.say(Say::WipeSure, &[name]));
        }
        eprint!("{}", lang.say(Say::WipeAsk, &[name, &place.root.display().to_string()]));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !consent::is_yes(&answer) {
            eprintln!("{}", lang.say(Say::LossKept, &[]));
            return Ok(1);
        }
    }
    stop(&place).await?;
    // Clears up after a cluster whose every process was killed, too. As long as the lock is held,
    // no start can use the files that are being removed.
    let Some(held) = launch::hold(&place)? else {
        bail!("{}", lang.say(Say::WipeBusy, &[name]));
    };
    // Its context would lead nowhere, or, after the next start, to an authority that is not known.
    if let Some(target) = kubeconfig::default_kubeconfig()
        && let Err(error) = kubeconfig::remove_from(&place, &target)
    {
        eprintln!("ropewalk: {}", error.say(lang));
    }
    let removed = wipe::cluster(&place, &held);
    let kept = removed.with_context(|| format!("cannot remove {}", place.root.display()))?;
    if let Some(kept) = kept {
        eprintln!(
            "{}",
            lang.say(Say::WipeLink, &[&place.root.display().to_string(), &kept.display().to_string()])
        );
    }
    println!("{}", lang.say(Say::Wiped, &[name]));
    drop(held);
    if let Some(left) = beside::wipe_left(&place, lang).await {
        eprintln!("{left}");
    }
    Ok(0)
}

/// True if there is something that `reset` can remove. A link that leads nowhere is: no start can
/// make a directory in its place.
///
/// # Errors
/// It cannot be found out: this user may not look there, for example. A script would take the
/// cluster for gone.
fn is_there(place: &Place) -> Result<bool, Error> {
    match place.root.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(wipe::has_leftovers(place))
        }
        Err(cause) => Err(Error::File { path: place.root.clone(), cause }),
    }
}

/// `kubeconfig`: prints the path of the cluster's kubeconfig, or merges it into the user's own.
pub(crate) fn kubeconfig(name: &str, merge: bool) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    if !has_kubeconfig(&place)? {
        return Err(Error::NotRunning(name.into()).into());
    }
    if !merge {
        std::println!("{}", place.kubeconfig().display());
        return Ok(0);
    }
    let target =
        kubeconfig::default_kubeconfig().ok_or_else(|| anyhow!(say(&place, Say::MergeNowhere, &[])))?;
    kubeconfig::merge_into(&place, &target)?;
    println!("{}", say(&place, Say::Merged, &[name, &target.display().to_string(), name]));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The disk on which the cluster lay is gone.
    #[test]
    fn a_link_that_leads_nowhere_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        assert!(!is_there(&place).unwrap());
        std::fs::create_dir_all(dir.path().join("clusters")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("gone"), &place.root).unwrap();
        assert!(place.make().is_err() && is_there(&place).unwrap());
        let held = launch::hold(&place).unwrap().expect("it does not run");
        assert_eq!(wipe::cluster(&place, &held).unwrap(), None);
        assert!(!is_there(&place).unwrap());
        place.make().unwrap();
    }

    /// `reset --yes` of another user's home.
    #[test]
    fn a_cluster_that_cannot_be_looked_for_is_not_said_to_be_absent() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        assert!(!has_kubeconfig(&place).unwrap());
        // Root may look everywhere, but not through a link to itself.
        let clusters = dir.path().join("clusters");
        std::os::unix::fs::symlink(&clusters, &clusters).unwrap();
        let root = place.root.clone();
        assert!(matches!(is_there(&place), Err(Error::File { path, .. }) if path == root));
        assert!(matches!(has_kubeconfig(&place), Err(Error::File { .. })));
    }
}
