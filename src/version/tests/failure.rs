//! Failing calls, and crashes after them: at every place, in every way.

use super::*;

/// One failing call, at every place of every step, in both ways: before and after are the only outcomes.
#[test]
fn every_failing_call_leaves_the_old_state_or_the_new_one() {
    let mut failures = 0;
    for rotate in [u64::MAX / 4, 0] {
        for failure in [Failure::Before, Failure::After] {
            for index in 0..=STEPS.len() {
                for n in 1.. {
                    let (fs, mut set) = new_set();
                    for step in &STEPS[..index] {
                        set.log_and_apply(step(&fs, &set)).expect("not yet");
                    }
                    let step: Step = *STEPS.get(index).unwrap_or(&((|_, _| clean_end()) as Step));
                    let before = dump(&set);
                    let edit = step(&fs, &set);
                    set.rotate_after(rotate);
                    set.take_obsolete();
                    fs.fail_in(n, failure);
                    let calls = fs.calls();
                    let result = set.log_and_apply(edit.clone());
                    if fs.calls() < calls + n {
                        break;
                    }
                    failures += 1;
                    check_after_failure(&fs, &set, &before, edit, result);
                }
            }
        }
    }
    assert!(failures > 200, "{failures} failing calls were tried");
}

fn check_after_failure<T>(fs: &Arc<MemFs>, set: &VersionSet, before: &str, edit: VersionEdit, result: Result<T>) {
    let is_applied = result.is_ok();
    let after = if is_applied {
        dump(set)
    } else {
        assert_eq!(dump(set), before);
        assert!(!set.is_durable());
        assert!(set.take_obsolete().is_empty(), "nothing is free while the edit may be on disk");
        String::new()
    };
    for crash in CRASHES {
        let fs = fs.crash(crash);
        let again = recover(&fs).unwrap_or_else(|e| panic!("{crash:?}: {e}"));
        let found = dump(&again);
        // What was recovered is made durable by the first edit, not by the pages that happened to be there.
        if again.log_state().clean_end.is_none() {
            again.log_and_apply(VersionEdit::default()).expect("a new manifest");
            assert_eq!(dump(&recover(&fs.crash(Crash::Power)).expect("recovers")), found, "{crash:?}, then power");
        }
        if is_applied {
            assert_eq!(found, after, "{crash:?}");
        } else {
            let is_old = found == before;
            let is_new = edit.added.iter().all(|(_, _, m)| found.contains(&format!("{m:?}"))) && !is_old;
            assert!(is_old || is_new, "{crash:?}: {found}");
        }
    }
    // The next edit starts a new manifest and ends all doubt.
    let added: BTreeSet<FileNumber> = edit.added.iter().map(|a| a.2.number).collect();
    set.log_and_apply(VersionEdit { last_seq: Some(SeqNo(99)), ..VersionEdit::default() }).expect("one failure only");
    for crash in CRASHES {
        assert_eq!(dump(&recover(&fs.crash(crash)).expect("recovers")), dump(set), "{crash:?}");
    }
    if !is_applied {
        let live: BTreeSet<FileNumber> = set.live_tables().into_iter().collect();
        let free: BTreeSet<FileNumber> = set.take_obsolete().into_iter().collect();
        assert_eq!(free, added.difference(&live).copied().collect());
    }
    let manifests = fs.names().iter().filter(|n| n.starts_with("MANIFEST-")).count();
    assert_eq!(manifests, 1, "older manifests are removed: {:?}", fs.names());
}

#[test]
fn a_failed_edit_can_be_tried_again() {
    let (fs, set) = new_set();
    set.log_and_apply(STEPS[0](&fs, &set)).expect("works");
    let edit = STEPS[1](&fs, &set);
    fs.fail_in(2, Failure::Before);
    set.log_and_apply(edit.clone()).expect_err("the sync fails");
    let manifest = set.manifest_number();
    let changed = set.log_and_apply(edit.clone()).expect("a new manifest");
    assert_eq!((changed.len(), changed[0].0), (1, DEFAULT));
    assert_ne!(set.manifest_number(), manifest);
    assert!(set.take_obsolete().is_empty(), "the tables are in use now");
    assert_eq!(set.live_tables(), [edit.added[0].2.number]);
}

#[test]
fn an_interrupted_creation_is_no_database_and_does_not_stop_the_next_one() {
    for failure in [Failure::Before, Failure::After] {
        for n in 1.. {
            let fs = MemFs::new(&dir());
            fs.fail_in(n, failure);
            let result = VersionSet::create(config(&fs));
            if fs.calls() < n {
                break;
            }
            for crash in CRASHES {
                let fs = fs.crash(crash);
                if VersionSet::exists(fs.as_ref(), &dir()).expect("no damage") {
                    recover(&fs).expect("complete");
                } else {
                    assert!(result.is_err(), "a finished creation is durable");
                    VersionSet::create(config(&fs)).expect("goes through");
                }
            }
        }
    }
    let (fs, _) = new_set();
    assert_eq!(VersionSet::create(config(&fs)).err().map(|e| e.code()), Some(Code::Exists));
}
