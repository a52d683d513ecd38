//! The command line. Every verb takes the database folder first.

use crate::text::Encoding;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Look into, fill, measure and mend liblsm databases.
#[derive(Parser, Debug)]
#[command(name = "lsm", version, max_term_width = 100, propagate_version = false, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    pub global: Global,
}

/// What every verb understands.
#[derive(Args, Debug)]
pub struct Global {
    /// Answer in JSON: one object, or one a line for verbs that list; errors as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// How keys and values are written and read
    #[arg(short, long, global = true, value_enum, value_name = "ENCODING")]
    pub encoding: Option<Encoding>,
    /// The same as --encoding hex
    #[arg(long, global = true, conflicts_with = "encoding")]
    pub hex: bool,
    /// Set an option of the database for this open (repeatable); see `lsm options`
    #[arg(short = 'o', long = "option", global = true, value_name = "KEY=VALUE")]
    pub option: Vec<String>,
    /// Say nothing but answers and errors: no summaries, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// The library to use, instead of the one beside this program or the one installed
    #[arg(long, global = true, value_name = "FILE", env = "LSM_LIBRARY", hide_env_values = true)]
    pub library: Option<OsString>,
}

impl Global {
    /// The encoding asked for, if any.
    pub fn asked_encoding(&self) -> Option<Encoding> {
        if self.hex { Some(Encoding::Hex) } else { self.encoding }
    }

    /// The encoding of arguments and answers.
    pub fn encoding(&self) -> Encoding {
        self.asked_encoding().unwrap_or(Encoding::Escaped)
    }
}

/// A database and a keyspace in it.
#[derive(Args, Debug)]
pub struct Place {
    /// The database's folder
    pub db: PathBuf,
    /// The keyspace, escaped
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub keyspace: String,
}

/// A range of keys.
#[derive(Args, Debug, Default)]
pub struct Range {
    /// Only keys that begin with this
    #[arg(long, value_name = "KEY")]
    pub prefix: Option<OsString>,
    /// The first key
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// The first key not taken
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
}

/// A file format of load and export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// JSON lines: {"keyspace": ..., "key": ..., "value": ...}
    Jsonl,
    /// Comma-separated: keyspace,key,value with quotes where needed
    Csv,
    /// Tab-separated: keyspace, key, value
    Tsv,
    /// Binary, the fastest and smallest; every block has a checksum
    Packed,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Read the values of keys
    Get(Get),
    /// Write a value under a key
    Put(Put),
    /// Delete keys
    Delete(Delete),
    /// List keys and values in order
    Scan(Scan),
    /// Write entries from a file or standard input
    Load(Load),
    /// Write all entries to a file or standard output
    Export(Export),
    /// Copy a RocksDB or LevelDB database into this one, and check the copy
    Import(Import),
    /// All numbers of a database, and its levels
    Stats(Stats),
    /// The shape of the tree: files and bytes of every level
    Levels(Stats),
    /// All metrics, as Prometheus text or JSON
    Metrics(Stats),
    /// The options of a database, or without one all options there are
    Options(Options),
    /// Read and check every byte
    Verify(Stats),
    /// Mend a damaged database as far as possible
    Repair(Stats),
    /// Compact a keyspace, or a range of it, down to its last level
    Compact(Compact),
    /// Write what is in memory to tables
    Flush(Stats),
    /// Measure this library on this machine
    Bench(Bench),
    /// Show what stands in a file; needs no library and works on an open or damaged database
    #[command(subcommand)]
    Dump(Dump),
    /// Every file and log record that holds a key; needs no library
    Find(Find),
    /// One page about a database: levels, options, numbers
    Report(Report),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man(Man),
}

/// Read the values of keys.
#[derive(Args, Debug)]
pub struct Get {
    #[command(flatten)]
    pub place: Place,
    /// The keys; of one its value is shown, of several each with its key
    #[arg(required = true)]
    pub keys: Vec<OsString>,
    /// The value's bytes as they are and no newline, for one key
    #[arg(long, conflicts_with_all = ["json", "encoding", "hex"])]
    pub raw: bool,
}

/// Write a value under a key.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["value", "stdin", "file"]))]
pub struct Put {
    #[command(flatten)]
    pub place: Place,
    /// The key
    pub key: OsString,
    /// The value
    pub value: Option<OsString>,
    /// Take the value from standard input, as it is
    #[arg(long)]
    pub stdin: bool,
    /// Take the value from a file, as it is
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Make the database and the keyspace if they are not there
    #[arg(long)]
    pub create: bool,
    /// Return only when it is on the device
    #[arg(long)]
    pub sync: bool,
}

/// Delete keys.
#[derive(Args, Debug)]
pub struct Delete {
    #[command(flatten)]
    pub place: Place,
    /// The keys
    #[arg(required = true)]
    pub keys: Vec<OsString>,
    /// Return only when it is on the device
    #[arg(long)]
    pub sync: bool,
}

/// List keys and values in order.
#[derive(Args, Debug)]
pub struct Scan {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub range: Range,
    /// At most so many
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Last first
    #[arg(short, long)]
    pub reverse: bool,
    /// Keys only
    #[arg(long)]
    pub keys: bool,
    /// Only how many there are
    #[arg(long, conflicts_with = "keys")]
    pub count: bool,
}

/// Write entries from a file or standard input.
#[derive(Args, Debug)]
pub struct Load {
    #[command(flatten)]
    pub place: Place,
    /// The file; - is standard input
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// Its format [default: by the file's name, else jsonl]
    #[arg(short, long, value_enum)]
    pub format: Option<Format>,
    /// Begin at this line (from 1); what stands before is only checked
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    pub from_line: u64,
    /// CSV and TSV: the first line is data, whatever it says
    #[arg(long)]
    pub no_header: bool,
    /// Fail unless so many entries were read
    #[arg(long, value_name = "COUNT")]
    pub expect_count: Option<u64>,
    /// Fail unless their checksum is this
    #[arg(long, value_name = "HEX")]
    pub expect_checksum: Option<String>,
    /// Fail if the database is not there, instead of making it
    #[arg(long)]
    pub no_create: bool,
}

/// Write all entries to a file or standard output.
#[derive(Args, Debug)]
pub struct Export {
    /// The database's folder
    pub db: PathBuf,
    /// The file, which must not be there; - is standard output
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// Only this keyspace (repeatable) [default: all]
    #[arg(short, long, value_name = "NAME")]
    pub keyspace: Vec<String>,
    /// Its format [default: by the file's name, else jsonl]
    #[arg(short, long, value_enum)]
    pub format: Option<Format>,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub range: Range,
}

/// A foreign engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Engine {
    /// All column families, each into the keyspace of its name
    Rocksdb,
    /// Into the keyspace `default`
    Leveldb,
}

/// Copy a RocksDB or LevelDB database into this one, and check the copy.
#[derive(Args, Debug)]
pub struct Import {
    /// This database's folder; made if it is not there
    pub db: PathBuf,
    /// What the other one is
    #[arg(long, value_enum)]
    pub from: Engine,
    /// The other database's folder; not a byte of it is written
    pub source: PathBuf,
    /// The other engine's library [default: the one installed]
    #[arg(long, value_name = "FILE")]
    pub engine_library: Option<PathBuf>,
}

/// A database.
#[derive(Args, Debug)]
pub struct Stats {
    /// The database's folder
    pub db: PathBuf,
}

/// The options of a database, or all there are.
#[derive(Args, Debug)]
pub struct Options {
    /// The database's folder
    pub db: Option<PathBuf>,
    /// The keyspace
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub keyspace: String,
    /// Only options whose name begins with this
    #[arg(long, value_name = "PREFIX")]
    pub only: Option<String>,
}

/// Compact a keyspace.
#[derive(Args, Debug)]
pub struct Compact {
    #[command(flatten)]
    pub place: Place,
    /// The first key
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// The first key not taken
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
}

/// A measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Workload {
    /// Puts in key order
    Fillseq,
    /// Puts of the same keys in random order
    Fillrandom,
    /// Gets of random keys
    Readrandom,
    /// A scan over all
    Readseq,
    /// Seeks to random keys
    Seek,
}

/// Measure this library on this machine.
#[derive(Args, Debug)]
pub struct Bench {
    /// What to measure, in this order [default: all]
    #[arg(value_enum)]
    pub workloads: Vec<Workload>,
    /// A folder to make the database in and to leave it [default: a temporary one, removed]
    #[arg(long, value_name = "FOLDER")]
    pub db: Option<PathBuf>,
    /// Keys
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub entries: u64,
    /// Bytes of a key
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    pub key_size: u64,
    /// Bytes of a value; half of them compress
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=1 << 28))]
    pub value_size: u64,
    /// Threads
    #[arg(short, long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub threads: u64,
    /// Every put returns when it is on the device
    #[arg(long)]
    pub sync: bool,
}

/// What to take apart.
#[derive(Subcommand, Debug)]
pub enum Dump {
    /// A table, NNNNNN.sst: what it says of itself, its blocks, its entries
    Table(DumpTable),
    /// A log segment, NNNNNN.wal: its records, their entries, where they end
    Wal(DumpWal),
    /// A manifest, or that of a database folder: every edit, and the state it leads to
    Manifest(DumpManifest),
}

/// A table.
#[derive(Args, Debug)]
pub struct DumpTable {
    /// The file
    pub file: PathBuf,
    /// List the blocks
    #[arg(long)]
    pub blocks: bool,
    /// List the entries
    #[arg(long)]
    pub entries: bool,
    /// Entries from this key on
    #[arg(long, value_name = "KEY", requires = "entries")]
    pub from: Option<OsString>,
    /// At most so many entries
    #[arg(short = 'n', long, value_name = "COUNT", requires = "entries")]
    pub limit: Option<u64>,
    /// The database's identity, for a file outside its folder (32 hexadecimal digits; `dump manifest` shows it)
    #[arg(long, value_name = "HEX")]
    pub database: Option<String>,
    /// The table's number, for a file that is called otherwise
    #[arg(long, value_name = "NUMBER")]
    pub number: Option<u64>,
}

/// A log segment.
#[derive(Args, Debug)]
pub struct DumpWal {
    /// The file
    pub file: PathBuf,
    /// List the entries of the batches
    #[arg(long)]
    pub entries: bool,
}

/// A manifest.
#[derive(Args, Debug)]
pub struct DumpManifest {
    /// The file, or the database's folder
    pub path: PathBuf,
}

/// Every place that holds a key.
#[derive(Args, Debug)]
pub struct Find {
    /// The database's folder
    pub db: PathBuf,
    /// The key
    pub key: OsString,
    /// Only in this keyspace [default: all]
    #[arg(short, long, value_name = "NAME")]
    pub keyspace: Option<String>,
}

/// One page about a database.
#[derive(Args, Debug)]
pub struct Report {
    /// The database's folder
    pub db: PathBuf,
    /// A page for a browser: one file, nothing loaded from elsewhere
    #[arg(long, required_unless_present = "json", conflicts_with = "json")]
    pub html: bool,
    /// Where to write it [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A completion script.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// The manual.
#[derive(Args, Debug)]
pub struct Man {
    /// Write lsm.1 and a page for every verb into this folder, instead of all in one to standard output
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}
