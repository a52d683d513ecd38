//! What a repair did, as JSON: what was found damaged, what was lost (file, key range, reason), what was set aside.
//!
//! Threads: a plain value. Failure: none.

use crate::db::properties::escape;
use std::fmt::Write;
use std::path::Path;

/// Entries that are lost.
#[derive(Default)]
pub struct Loss {
    /// The file they were in.
    pub file: String,
    /// Of which keyspace, where one is concerned.
    pub keyspace: Option<String>,
    /// Where in the file, and how many bytes.
    pub place: Option<(u64, u64)>,
    /// The first and the last key that may be lost; `None`: unbounded.
    pub keys: (Option<Vec<u8>>, Option<Vec<u8>>),
    /// The first sequence number that may be lost, and the one behind the last (`None`: unknown).
    pub sequences: Option<(u64, Option<u64>)>,
    /// Why.
    pub reason: String,
}

/// The report.
pub struct Report {
    /// The database's identity.
    pub database: u128,
    /// Damaged files besides tables and logs.
    pub faults: usize,
    /// Tables that were sound, were rewritten in part, were merged, are missing.
    pub tables: Tables,
    /// Whether the log was rewritten into tables.
    pub is_log_rewritten: bool,
    /// Entries in the tables of the repaired database.
    pub entries_kept: u64,
    /// Entries that are known to be lost.
    pub entries_lost: u64,
    is_sound: bool,
    damaged: Vec<(String, String)>,
    lost: Vec<Loss>,
    aside: Vec<(String, String)>,
    notes: Vec<String>,
}

/// Counts of tables.
#[derive(Default)]
pub struct Tables {
    /// Sound, and kept as they are.
    pub sound: usize,
    /// Damaged: what was left was written again.
    pub rewritten: usize,
    /// Merged, because their keys overlap and no manifest says which are newer.
    pub merged: usize,
    /// Named by the manifest and not there.
    pub missing: usize,
}

impl Report {
    /// A report that begins with damaged files and what is wrong with them.
    pub fn new(faults: &[(String, String)]) -> Report {
        Report {
            database: 0,
            faults: faults.len(),
            tables: Tables::default(),
            is_log_rewritten: false,
            entries_kept: 0,
            entries_lost: 0,
            is_sound: false,
            damaged: faults.to_vec(),
            lost: Vec::new(),
            aside: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Nothing was wrong with any of so many tables.
    pub fn sound(&mut self, tables: usize) {
        self.is_sound = true;
        self.tables.sound = tables;
    }

    /// Files named in the faults, each once.
    pub fn damaged_files(&self) -> Vec<String> {
        let mut names: Vec<String> = self.damaged.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Something a person should know.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Entries are lost.
    pub fn lose(&mut self, loss: Loss) {
        self.lost.push(loss);
    }

    /// A file was kept under another name.
    pub fn set_aside(&mut self, name: &str, to: &Path) {
        let to = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        self.aside.push((name.to_owned(), to));
    }

    /// The report as JSON.
    pub fn json(&self) -> String {
        let Tables { sound, rewritten, merged, missing } = self.tables;
        let word = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
        let mut out = format!(
            "{{\n  \"result\": \"{}\",\n  \"database\": \"{:032x}\",\n  \"manifest\": \"{}\",\n  \"log\": \"{}\",\n",
            word(self.is_sound, "sound", "repaired"),
            self.database,
            word(self.is_sound, "sound", "rewritten"),
            word(self.is_log_rewritten, "rewritten", "sound"),
        );
        let _ = write!(
            out,
            "  \"tables\": {{\"sound\": {sound}, \"rewritten\": {rewritten}, \"merged\": {merged}, \"missing\": \
             {missing}}},\n  \"entries_kept\": {},\n  \"entries_lost\": {},\n",
            if self.is_sound { "null".to_owned() } else { self.entries_kept.to_string() },
            self.entries_lost
        );
        let damaged =
            self.damaged.iter().map(|(f, why)| format!("{{\"file\": {}, \"reason\": {}}}", text(f), text(why)));
        let aside = self.aside.iter().map(|(f, to)| format!("{{\"file\": {}, \"as\": {}}}", text(f), text(to)));
        list(&mut out, "damaged", damaged.collect(), ",");
        list(&mut out, "lost", self.lost.iter().map(Loss::json).collect(), ",");
        list(&mut out, "set_aside", aside.collect(), ",");
        list(&mut out, "notes", self.notes.iter().map(|n| text(n)).collect(), "");
        out.push_str("}\n");
        out
    }
}

impl Loss {
    fn json(&self) -> String {
        let mut out = format!("{{\"file\": {}, \"reason\": {}", text(&self.file), text(&self.reason));
        if let Some(keyspace) = &self.keyspace {
            let _ = write!(out, ", \"keyspace\": {}", text(keyspace));
        }
        if let Some((offset, bytes)) = self.place {
            let _ = write!(out, ", \"offset\": {offset}, \"bytes\": {bytes}");
        }
        if let Some((from, to)) = self.sequences {
            let to = to.map_or_else(|| "null".to_owned(), |to| to.to_string());
            let _ = write!(out, ", \"sequence_from\": {from}, \"sequence_to\": {to}");
        } else {
            let _ = write!(out, ", \"key_from\": {}, \"key_to\": {}", hex(&self.keys.0), hex(&self.keys.1));
        }
        out.push('}');
        out
    }
}

/// Appends `"name": [items]`.
pub(in crate::db) fn list(out: &mut String, name: &str, items: Vec<String>, end: &str) {
    if items.is_empty() {
        let _ = writeln!(out, "  \"{name}\": []{end}");
    } else {
        let _ = writeln!(out, "  \"{name}\": [\n    {}\n  ]{end}", items.join(",\n    "));
    }
}

/// A JSON string.
pub(in crate::db) fn text(text: &str) -> String {
    format!("\"{}\"", escape(text.as_bytes()))
}

/// A key in hexadecimal digits, or null.
pub(in crate::db) fn hex(key: &Option<Vec<u8>>) -> String {
    let Some(key) = key else { return "null".to_owned() };
    let mut out = String::from("\"");
    for byte in key {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('"');
    out
}
