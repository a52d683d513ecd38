//! The verbs: each takes its part of the command line and answers through `Out`.

mod admin;
mod bench;
mod data;
mod dump;
mod export;
mod find;
mod import;
mod load;
mod manifest;
mod pages;
mod report;
mod show;

use crate::cli::{Cli, Dump, Global, Verb};
use crate::exit::{Failure, Outcome};
use crate::lsm::Library;
use crate::out::Out;

/// What every verb gets besides its own arguments.
pub struct Context<'c> {
    /// What every verb understands.
    pub global: &'c Global,
    /// Where answers go.
    pub out: Out,
    /// `--option KEY=VALUE`, taken apart.
    pub settings: Vec<(String, String)>,
}

impl Context<'_> {
    /// The library; looked for when a verb needs it.
    pub fn library(&self) -> Outcome<Library> {
        Library::find(self.global.library.as_deref())
    }
}

fn settings(global: &Global) -> Outcome<Vec<(String, String)>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_string(), value.trim().to_string())),
        None => Err(Failure::usage(format!("--option {text}: KEY=VALUE is expected"))),
    };
    global.option.iter().map(pair).collect()
}

/// Does what the command line says.
pub fn run(cli: &Cli) -> Outcome {
    let settings = settings(&cli.global)?;
    let mut context = Context { global: &cli.global, out: Out::new(&cli.global), settings };
    let c = &mut context;
    let done = match &cli.verb {
        Verb::Get(args) => data::get(c, args),
        Verb::Put(args) => data::put(c, args),
        Verb::Delete(args) => data::delete(c, args),
        Verb::Scan(args) => data::scan(c, args),
        Verb::Load(args) => load::run(c, args),
        Verb::Export(args) => export::run(c, args),
        Verb::Import(args) => import::run(c, args),
        Verb::Stats(args) => show::stats(c, args),
        Verb::Levels(args) => show::levels(c, args),
        Verb::Metrics(args) => show::metrics(c, args),
        Verb::Options(args) => show::options(c, args),
        Verb::Verify(args) => admin::verify(c, args),
        Verb::Repair(args) => admin::repair(c, args),
        Verb::Compact(args) => admin::compact(c, args),
        Verb::Flush(args) => admin::flush(c, args),
        Verb::Bench(args) => bench::run(c, args),
        Verb::Dump(Dump::Table(args)) => dump::table(c, args),
        Verb::Dump(Dump::Wal(args)) => dump::wal(c, args),
        Verb::Dump(Dump::Manifest(args)) => manifest::run(c, args),
        Verb::Find(args) => find::run(c, args),
        Verb::Report(args) => report::run(c, args),
        Verb::Completions(args) => pages::completions(c, args),
        Verb::Man(args) => pages::man(c, args),
    };
    // What was answered before a failure is shown before it is told.
    let shown = context.out.finish();
    done.and(shown)
}
