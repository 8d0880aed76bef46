use super::*;
use tokio::io::Interest;

/// Returns what main makes of a process that gives these answers and is then killed, or runs on
/// with the socket closed; and whether it lives.
async fn outcome_of(answers: &[&[u8]], abandoned: bool) -> (cri::Result<Started>, bool) {
    #[allow(clippy::zombie_processes)] // `listen` waits for it
    let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id() as i32;
    let (ours, theirs) = fds::seqpacket().unwrap();
    let pidfd = process::pidfd_open(pid).unwrap();
    fds::send(theirs.as_fd(), &Answer::Child(pid).encode(), &[pidfd.as_fd()]).unwrap();
    answers.iter().for_each(|answer| fds::send(theirs.as_fd(), answer, &[]).unwrap());
    drop(theirs);
    let pending = PendingStart::default();
    if abandoned {
        pending.abandon();
    }
    let listened = listen(&fds::Socket::new(ours).unwrap(), Children::new().birth(), &pending, None).await;
    if let (Ok(started), true) = (&listened, abandoned) {
        started.process.exit().await;
    }
    let lives = process::wait_pidfd(pidfd.as_fd(), false).is_ok_and(|exit| exit.is_none());
    if let Ok(started) = &listened {
        let _ = started.process.signal(nix::libc::SIGKILL);
        started.process.exit().await;
    }
    (listened, lives)
}

/// The OOM killer ends a process that has a small limit while its root is being built.
#[tokio::test]
async fn a_process_that_dies_before_its_program_has_not_started() {
    let (started, lives) = outcome_of(&[b"R"], false).await;
    assert!(started.is_ok() && lives);
    let (started, lives) = outcome_of(&[], false).await;
    let Err(cri::Error::Start(why)) = started else { panic!("a closed socket counts as a start") };
    assert!(why.contains("ended before") && !lives, "{why}");
}

#[tokio::test]
async fn a_helper_that_dies_is_no_fault_of_the_zygote() {
    for (helps, want) in [(true, "ended before that"), (false, "the zygote does not answer")] {
        let (ours, theirs) = fds::seqpacket().unwrap();
        if helps {
            fds::send(theirs.as_fd(), &Answer::Helper(i32::MAX).encode(), &[]).unwrap();
        }
        drop(theirs);
        let birth = Children::new().birth();
        let listened = listen(&fds::Socket::new(ours).unwrap(), birth, &PendingStart::default(), None).await;
        let Err(error) = listened.map(drop) else { panic!("it counts as started") };
        assert!(error.line().contains(want), "{}", error.line());
    }
}

#[tokio::test]
async fn errors_after_its_birth_leave_no_process() {
    let (failed, lives) = outcome_of(&[b"nonsense"], false).await;
    assert!(matches!(failed, Err(cri::Error::Io { .. })) && !lives);
    let (failed, lives) = outcome_of(&[b"T", b"R"], false).await; // the terminal's descriptor was lost
    assert!(matches!(failed, Err(cri::Error::Io { .. })) && !lives);
    let (failed, lives) = outcome_of(&[b"Fno such file"], false).await;
    assert!(matches!(failed, Err(cri::Error::Start(why)) if why == "no such file") && !lives);
}

/// None is left when main's descriptors are used up: the kernel drops the one that came.
#[tokio::test]
async fn a_process_whose_descriptor_is_lost_is_killed() {
    #[allow(clippy::zombie_processes)] // collected below
    let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id() as i32;
    let pidfd = linux::fds::async_fd(process::pidfd_open(pid).unwrap(), Interest::READABLE).unwrap();
    let (ours, theirs) = fds::seqpacket().unwrap();
    fds::send(theirs.as_fd(), &Answer::Child(pid).encode(), &[]).unwrap();
    let birth = Children::new().birth();
    let listened = listen(&fds::Socket::new(ours).unwrap(), birth, &PendingStart::default(), None).await;
    let Err(cri::Error::Io { cause, .. }) = listened.map(drop) else { panic!("it counts as started") };
    assert_eq!(cause.raw_os_error(), Some(nix::libc::EMFILE));
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), pidfd.readable()).await;
    drop(ended.expect("it is killed").unwrap());
    assert!(process::reap(pid).unwrap());
}

#[tokio::test]
async fn a_process_that_is_abandoned_before_it_exists_is_killed_once_it_does() {
    let (_, lives) = outcome_of(&[b"R"], true).await;
    assert!(!lives);
}
