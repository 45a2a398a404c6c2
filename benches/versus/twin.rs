//! What runs on our side? One application in this process, until its input ends.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use millstream::{App, Config, Guarantee, StreamsBuilder};

use crate::settings::Settings;
use crate::workloads;

/// Runs the workload that the first argument names, as the others say.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [name, words @ ..] = arguments else { return ExitCode::from(2) };
    let workload = workloads::all().find(|workload| workload.name == name);
    let workload = workload.expect("the driver names a workload that is there");
    let settings = Settings::parse(words);
    let builder = StreamsBuilder::new();
    (workload.build)(&builder, &settings);
    let topology = builder.build().expect("the topology is sound");
    let app = App::builder(&topology, config(&settings)).start().expect("the application starts");
    let input = std::thread::spawn(|| {
        // What is written here has no meaning; its end does.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    });
    while !input.is_finished() && !app.state().is_terminal() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // It also waits for the threads: RocksDB must be closed before the process ends.
    app.close(Duration::from_secs(60));
    app.error().map_or(ExitCode::SUCCESS, |error| {
        println!("{error:?}");
        ExitCode::FAILURE
    })
}

fn config(settings: &Settings) -> Config {
    let guarantee = match settings.text("guarantee") {
        "exactly-once" => Guarantee::ExactlyOnce,
        _ => Guarantee::AtLeastOnce,
    };
    let mut config = Config::builder(settings.text("application"), settings.text("brokers"))
        .guarantee(guarantee)
        .commit_interval(Duration::from_millis(settings.number("commit-ms")))
        .workers(settings.number("threads") as usize)
        .state_dir(settings.text("state"))
        .memory_bytes(settings.number("memory-bytes") as usize)
        .replication(1);
    for (name, value) in settings.client() {
        config = config.client_property(name, value);
    }
    config.build().expect("valid settings")
}
