//! Damage to files at rest is reported, or changes nothing that is read: flipped bits, cut, empty, missing, grown, swapped
//! files, zeroed sectors; after a clean close always reported, naming a file that is damaged; in the log of a killed
//! process wherever it was synced, while a torn tail is never refused.
//!
//! A bounded part runs by default; `LSM_DAMAGE=all` tries every bit and every place. `LSM_SEED=n` replays.
#![allow(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "seeds and counts are for whoever reads the output"
)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[path = "common/count.rs"]
mod count;
mod explorer;

use explorer::image::{Files, Image, disk_of, files_of, listen};
use explorer::{DIR, Rng, TimeBox, Watched, first_seed, open};
use lsm_engine::db::{Db, Durability, WriteOptions};
use lsm_engine::fs::fault::FaultFs;
use lsm_engine::fs::{File, Fs, FsKind, Lock, Metadata, OpenMode};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

fn is_full() -> bool {
    std::env::var("LSM_DAMAGE").is_ok_and(|all| all == "all")
}

/// What is wrong with how damage of `named` was met, if anything is. `strict`: it must be reported.
fn judge(fs: Arc<dyn Fs>, image: &Image, named: &[&str], strict: bool) -> Result<bool, String> {
    let heard = listen(fs, &image.model);
    if let Some(found) = &heard.found
        && *found != image.model
    {
        return Err(format!("read without an error:\n{}", image.model.difference(found)));
    }
    let texts: Vec<&str> = heard.reports.iter().map(|e| e.message()).collect();
    if heard.reports.is_empty() && strict {
        return Err("nobody noticed".into());
    }
    if let Some(panic) = texts.iter().find(|t| t.contains("panick")) {
        return Err(format!("a panic: {panic}"));
    }
    if !texts.is_empty() && !texts.iter().any(|text| named.iter().any(|name| text.contains(name))) {
        return Err(format!("{named:?} is not named: {texts:?}"));
    }
    Ok(!heard.reports.is_empty())
}

/// A small database that was closed cleanly, with several tables, blocks and levels.
fn closed(seed: u64) -> Image {
    Image::of_history(seed, 150, "write", true)
}

const FLIPS_LEAST: u64 = 301;

/// Flips bits of a closed database until the time is up, or all; `fs` may stand between.
fn flips(image: &Image, seconds: u64, fs: &dyn Fn(FaultFs) -> Arc<dyn Fs>) -> Result<u64, String> {
    let places: Vec<(&String, u64)> =
        image.files.iter().flat_map(|(name, bytes)| (0..bytes.len() as u64 * 8).map(move |bit| (name, bit))).collect();
    let time = TimeBox::of(seconds);
    let seed = first_seed();
    eprintln!("seed {seed}, {} bits", places.len());
    let mut rng = Rng::new(seed);
    let mut tried = 0;
    for at in 0..places.len() as u64 {
        let at = if is_full() { at } else { rng.below(places.len() as u64) };
        if !is_full() && time.is_over(tried, FLIPS_LEAST) {
            break;
        }
        let (name, bit) = places[at as usize];
        let mut files = image.files.clone();
        files.get_mut(name).unwrap()[(bit / 8) as usize] ^= 1 << (bit % 8);
        let case = format!("bit {bit} of {name}");
        let _watched = Watched::new(case.clone());
        judge(fs(disk_of(&files)), image, &[name.as_str()], true).map_err(|e| format!("{case}: {e}"))?;
        tried += 1;
    }
    eprintln!("{tried} flips");
    Ok(tried)
}

#[test]
fn every_flipped_bit_of_a_closed_database_is_reported() {
    let image = closed(if is_full() { 3 } else { first_seed() });
    let tried = flips(&image, 15, &|disk| Arc::new(disk)).unwrap_or_else(|e| panic!("{e}"));
    assert!(tried >= FLIPS_LEAST, "only {tried} in the time");
    count::counted("flips-clean", first_seed(), tried, "flips");
}

/// All structural damage to `files`: a name, the damaged folder, the files that may be named.
fn structural(files: &Files) -> Vec<(String, Files, Vec<String>)> {
    let mut cases = Vec::new();
    for (name, bytes) in files {
        let mut case = |what: String, changed: Option<Vec<u8>>| {
            let mut damaged = files.clone();
            match changed {
                Some(changed) if changed == *bytes => return,
                Some(changed) => damaged.insert(name.clone(), changed),
                None => damaged.remove(name),
            };
            cases.push((format!("{name}: {what}"), damaged, vec![name.clone()]));
        };
        case("missing".into(), None);
        case("empty".into(), Some(Vec::new()));
        let step = if bytes.len() < 4096 { 1 } else { 512 };
        for cut in (1..bytes.len()).step_by(step) {
            case(format!("cut at {cut}"), Some(bytes[..cut].to_vec()));
        }
        for sector in (0..bytes.len()).step_by(512) {
            let mut zeroed = bytes.clone();
            zeroed[sector..].iter_mut().take(512).for_each(|b| *b = 0);
            case(format!("sector at {sector} zeroed"), Some(zeroed));
        }
        for junk in [&[0u8][..], &[0xa5; 13], &[0; 512], &bytes[..bytes.len().min(600)]] {
            case(format!("{} bytes of junk behind it", junk.len()), Some([bytes, junk].concat()));
        }
        let kind = |name: &str| name.rsplit('.').next().map(str::to_owned);
        for (other, theirs) in files.iter().filter(|(other, _)| *other > name && kind(other) == kind(name)) {
            let mut damaged = files.clone();
            damaged.insert(name.clone(), theirs.clone());
            damaged.insert(other.clone(), bytes.clone());
            cases.push((format!("{name} and {other} swapped"), damaged, vec![name.clone(), other.clone()]));
        }
    }
    cases
}

#[test]
fn structural_damage_of_a_closed_database_is_reported_by_name() {
    let image = closed(first_seed());
    let mut cases = structural(&image.files);
    assert!(cases.iter().any(|(name, ..)| name.contains("swapped")));
    let all = cases.len();
    // A random order, and as many as fit into the time.
    let mut rng = Rng::new(first_seed());
    for at in (1..cases.len()).rev() {
        cases.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let time = TimeBox::of(15);
    let mut tried = 0;
    for (case, files, named) in cases {
        if !is_full() && time.is_over(tried, FLIPS_LEAST) {
            break;
        }
        let _watched = Watched::new(case.clone());
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        judge(Arc::new(disk_of(&files)), &image, &named, true).unwrap_or_else(|e| panic!("{case}: {e}"));
        tried += 1;
    }
    eprintln!("{tried} of {all} cases");
    count::counted("structure", first_seed(), tried, "cases");
    assert!(tried >= FLIPS_LEAST, "only {tried} in the time");
}

/// What `kill -9` leaves after synced writes: several segments, the last record synced, its mark behind it.
fn killed(io: &str) -> (Image, Vec<(String, usize)>) {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), io).unwrap();
    let mut image =
        Image { files: Files::new(), model: Default::default(), past: Default::default(), tails: Vec::new() };
    for n in 0..70u32 {
        let durability = if n % 5 == 4 { Durability::Fsync } else { Durability::Os };
        let options = WriteOptions { durability, ..WriteOptions::default() };
        let (key, value) = (n.to_be_bytes(), vec![n as u8; 30]);
        db.default_keyspace().put(&options, &key, &value).unwrap();
        image.model.0[0].insert(key.to_vec(), value);
    }
    disk.power_off();
    let _ = db.close();
    image.files = files_of(&disk.process_death());
    let logs = image.files.iter().filter(|(name, _)| name.ends_with(".wal"));
    // Behind the last byte that is not zero nothing was ever written.
    let ends = logs.map(|(name, bytes)| (name.clone(), bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)));
    let ends = ends.collect();
    (image, ends)
}

/// Records stand behind the header page of a segment.
const HEADER_PAGE: usize = 4096;

#[test]
fn flips_below_the_watermark_are_reported_and_torn_tails_are_not_refused() {
    let mut rng = Rng::new(first_seed());
    let (mut reported, mut harmless) = (0, 0);
    for io in ["write", "auto"] {
        let (image, ends) = killed(io);
        for (name, end) in &ends {
            let bits = *end as u64 * 8;
            let time = TimeBox::of(5);
            for at in 0..bits {
                let bit = if is_full() { at } else { rng.below(bits) };
                if !is_full() && time.is_over(at, FLIPS_LEAST) {
                    break;
                }
                let mut files = image.files.clone();
                files.get_mut(name).unwrap()[(bit / 8) as usize] ^= 1 << (bit % 8);
                let case = format!("{io}: bit {bit} of {name} (ends at {end})");
                let _watched = Watched::new(case.clone());
                match judge(Arc::new(disk_of(&files)), &image, &[name.as_str()], false) {
                    Ok(true) => reported += 1,
                    Ok(false) => harmless += 1,
                    Err(e) => panic!("{case}: {e}"),
                }
            }
        }
        // The mark behind the last record was not synced: torn at any byte, it takes nothing with it.
        // A segment behind it that was only made ready holds no record, but its header is durable.
        let (name, end) = ends.iter().rfind(|(_, end)| *end > HEADER_PAGE).unwrap();
        // Its last byte that is not zero is the 25th: the watermark is below 256.
        for cut in end - 24..*end {
            let mut files = image.files.clone();
            files.get_mut(name).unwrap()[cut..*end].iter_mut().for_each(|b| *b = 0);
            let is_reported = judge(Arc::new(disk_of(&files)), &image, &[name.as_str()], false);
            assert!(!is_reported.unwrap_or_else(|e| panic!("{io}: {name} torn at {cut}: {e}")), "{io}: {cut} refused");
        }
    }
    eprintln!("{reported} flips reported, {harmless} harmless");
    count::counted("flips-killed", first_seed(), reported + harmless, "flips");
    // Only the last mark, and what a header page keeps for people, may change without harm.
    assert!(reported > 100 && harmless * 20 < reported, "{reported} reported, {harmless} harmless");
}

/// The loss of the only segment of a killed process is noticed, also once earlier segments are gone.
#[test]
fn a_missing_segment_is_noticed_after_flushes_freed_those_before() {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    let put = |n: u32| db.default_keyspace().put(&WriteOptions::default(), &n.to_be_bytes(), &[1; 50]).unwrap();
    put(1);
    for n in 2..5 {
        db.flush(None).unwrap();
        put(n);
    }
    // The flush of the first memtables has let their segments go; the manifest names the one that is needed now.
    disk.power_off();
    let _ = db.close();
    let files = files_of(&disk.process_death());
    assert!(open(Arc::new(disk_of(&files)), "write").is_ok());
    let mut without = files;
    without.retain(|name, _| !name.ends_with(".wal"));
    let error = open(Arc::new(disk_of(&without)), "write").err().expect("silently lost");
    assert!(error.message().contains(".wal"), "{error:?}");
}

/// A segment is allocated and synced before its first record, so a shorter file lost something, wherever it was cut.
#[test]
fn a_cut_segment_of_a_killed_database_is_reported() {
    let mut rng = Rng::new(first_seed());
    for io in ["write", "auto"] {
        let (image, _) = killed(io);
        let mut cuts = 0;
        for (name, bytes) in image.files.iter().filter(|(name, _)| name.ends_with(".wal")) {
            let mut places: Vec<usize> = (0..80).map(|_| rng.below(bytes.len() as u64) as usize).collect();
            places.extend([0, HEADER_PAGE - 1, HEADER_PAGE, bytes.len() - 1]);
            // Between and inside of the first records, of which the first five end with a synced one.
            places.extend((HEADER_PAGE..HEADER_PAGE + 800).step_by(8));
            for cut in places {
                let mut files = image.files.clone();
                files.get_mut(name).unwrap().truncate(cut);
                let case = format!("{io}: {name} cut at {cut} of {}", bytes.len());
                let _watched = Watched::new(case.clone());
                judge(Arc::new(disk_of(&files)), &image, &[name.as_str()], true)
                    .unwrap_or_else(|e| panic!("{case}: {e}"));
                cuts += 1;
            }
        }
        assert!(cuts > 100);
    }
}

/// Keyspaces and options are in the manifest alone: cut behind any older edit, it is reported, or nothing is missing.
#[test]
fn a_manifest_cut_before_a_change_of_keyspaces_is_reported() {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    for name in ["one", "two", "three"] {
        drop(db.keyspace_open(name.as_bytes(), None).unwrap());
        db.flush(None).unwrap();
    }
    assert!(db.keyspace_drop(b"two").unwrap());
    disk.power_off();
    let _ = db.close();
    let files = files_of(&disk.process_death());
    let names = |files: &Files| {
        let db = open(Arc::new(disk_of(files)), "write")?;
        let names = db.keyspace_list()?;
        db.close().map(|()| names)
    };
    let whole = names(&files).unwrap();
    assert_eq!(whole.len(), 3);
    let (manifest, bytes) = files.iter().find(|(name, _)| name.starts_with("MANIFEST")).unwrap();
    let mut reported = 0;
    for cut in 0..bytes.len() {
        let mut files = files.clone();
        files.insert(manifest.clone(), bytes[..cut].to_vec());
        match names(&files) {
            Ok(found) => assert!(found == whole, "cut at {cut} of {}: {} keyspaces", bytes.len(), found.len()),
            Err(error) => {
                assert!(error.message().contains(manifest.as_str()), "cut at {cut}: {error}");
                reported += 1;
            }
        }
    }
    assert!(reported > bytes.len() / 2, "{reported} of {}", bytes.len());
}

/// A manifest that is cut behind an older edit (which its own records cannot tell) shows an older state: what that state
/// needs is gone where it matters, so nothing acknowledged is silently lost.
#[test]
fn a_manifest_cut_behind_an_older_edit_loses_nothing_silently() {
    let (mut cuts, mut reported) = (0, 0);
    for seed in 0..25 {
        let image = Image::of_history(seed, 120, "write", false);
        let (name, bytes) = image.files.iter().find(|(name, _)| name.starts_with("MANIFEST")).unwrap();
        let current = std::str::from_utf8(&image.files["CURRENT"]).unwrap();
        let promised = current.split("at-least ").nth(1).unwrap().lines().next().unwrap().parse::<usize>().unwrap();
        let mut at = 48;
        while at < bytes.len() {
            at += 24 + u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
            // Behind the last edit only a mark may be cut; before the promised length CURRENT tells.
            if at >= bytes.len() {
                break;
            }
            let mut files = image.files.clone();
            files.insert(name.clone(), bytes[..at].to_vec());
            let case = format!("seed {seed}, {name} cut at {at} of {}, {promised} promised", bytes.len());
            let heard = listen(Arc::new(disk_of(&files)), &image.model);
            let is_named =
                heard.reports.is_empty() || heard.reports.iter().any(|e| e.message().contains(name.as_str()));
            assert!(is_named, "{case}: {:?}", heard.reports);
            let is_right = heard.found.is_none_or(|found| found == image.model || image.tails.contains(&found));
            assert!(is_right, "{case}: an older state");
            reported += u32::from(!heard.reports.is_empty());
            assert!(at >= promised || !heard.reports.is_empty(), "{case}: CURRENT was not believed");
            cuts += 1;
        }
    }
    eprintln!("{cuts} cuts, {reported} reported");
    assert!(cuts > 100 && reported > 20);
}

/// Shows undamaged tables to everyone: what a cache that nobody checks would do.
struct Blind {
    disk: FaultFs,
    sound: FaultFs,
}

impl Fs for Blind {
    fn open(&self, path: &Path, mode: OpenMode) -> lsm_engine::Result<Arc<dyn File>> {
        let is_hidden = path.extension().is_some_and(|e| e == "sst");
        if is_hidden { self.sound.open(path, mode) } else { self.disk.open(path, mode) }
    }
    fn metadata(&self, path: &Path) -> lsm_engine::Result<Option<Metadata>> {
        self.disk.metadata(path)
    }
    fn list(&self, dir: &Path) -> lsm_engine::Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> lsm_engine::Result<()> {
        self.disk.create_dir(dir)
    }
    fn remove_dir(&self, dir: &Path) -> lsm_engine::Result<()> {
        self.disk.remove_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> lsm_engine::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> lsm_engine::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> lsm_engine::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path, exclusive: bool) -> lsm_engine::Result<Box<dyn Lock>> {
        self.disk.lock(path, exclusive)
    }
    fn kind(&self, dir: &Path) -> FsKind {
        self.disk.kind(dir)
    }
    fn free_bytes(&self, dir: &Path) -> u64 {
        self.disk.free_bytes(dir)
    }
}

/// Self-test: where damage to tables stays hidden, the sweep must say so.
#[test]
fn hidden_damage_is_convicted() {
    let image = closed(3);
    let sound = image.files.clone();
    let result = flips(&image, 10, &|disk| Arc::new(Blind { disk, sound: disk_of(&sound) }));
    assert!(result.is_err_and(|e| e.contains("nobody noticed")), "nobody convicted it");
    // And a reader that serves what is not there is convicted by the comparison.
    let mut other = closed(3);
    other.model.0[0].insert(b"never".to_vec(), b"written".to_vec());
    let result = judge(Arc::new(disk_of(&image.files)), &other, &[], false);
    assert!(result.is_err_and(|e| e.contains("without an error")));
    let db = Db::open_on(Arc::new(disk_of(&image.files)), Path::new(DIR), &explorer::options("write")).unwrap();
    db.close().unwrap();
}
