//! What must hold before anything runs? Everything is checked, and every problem is told at once.
//!
//! # Invariants
//!
//! - Nothing is created in the log, and nothing local but an empty state directory, before every
//!   check has passed.
//! - A log that does not answer is one problem, and is waited for once.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, Orphans};
use crate::dsl::Topology;
use crate::error::{BoxError, LogProblem, StartError, TopologyError, TopologyErrors};
use crate::log::{Admin, LogError, NewTopic, TopicInfo};
use crate::state::{MemoryBudget, StateDirectory};
use crate::topology::{
    Acl, AclOperation, AclResource, Kept, Layout, Plan, Settings, StoreSpec, changed_kind,
    changelog_topic, dead_letter_topics, missing_rights, repartition_topic, required_acls, shown,
    topics_read, topics_written,
};

/// The setting by which a changelog tells what it is of.
const POLICY: &str = "cleanup.policy";

/// What the checks have found.
pub(crate) struct Ready {
    pub(crate) layout: Layout,
    pub(crate) directory: StateDirectory,
}

/// Checks topics, names, settings of topics and the state directory; then creates the internal
/// topics that are missing.
///
/// # Errors
///
/// Every problem that could be found.
pub(crate) fn prepare(
    topology: &Topology,
    config: &Config,
    admin: &dyn Admin,
) -> Result<Ready, StartError> {
    let mut start = Start::new(topology, config, admin);
    let checked = start.check_topics();
    let directory = start.directory();
    if let Some((layout, _)) = &checked {
        start.check_kept(layout, directory.as_ref());
    }
    let (Some((layout, missing)), Some(directory)) = (checked, directory) else {
        return Err(StartError::from_problems(start.problems));
    };
    start.refused()?;
    start.create(&missing);
    start.adopt(&directory);
    start.refused()?;
    Ok(Ready { layout, directory })
}

/// As [`prepare`], where state lies in no directory.
///
/// # Errors
///
/// Every problem that could be found.
pub(crate) fn prepare_topics(
    topology: &Topology,
    config: &Config,
    admin: &dyn Admin,
) -> Result<Layout, StartError> {
    let mut start = Start::new(topology, config, admin);
    let Some((layout, missing)) = start.check_topics() else {
        return Err(StartError::from_problems(start.problems));
    };
    start.check_kept(&layout, None);
    start.refused()?;
    start.create(&missing);
    start.refused()?;
    Ok(layout)
}

struct Start<'a> {
    plan: &'a Plan,
    config: &'a Config,
    admin: &'a dyn Admin,
    problems: Vec<BoxError>,
    /// Whether the log did not answer; it is not asked again.
    is_unreachable: bool,
    /// The internal topics that exist, with their settings as far as they could be read.
    existing: BTreeMap<String, Settings>,
    /// What the application's principal must be allowed.
    rights: Vec<Acl>,
}

/// What is asked of the log.
struct Asked {
    /// Completes "not authorised to".
    what: String,
    /// The rights that it needs, if they are known.
    rights: String,
}

impl From<&str> for Asked {
    fn from(what: &str) -> Self {
        Self { what: what.to_owned(), rights: String::new() }
    }
}

impl<'a> Start<'a> {
    fn new(topology: &'a Topology, config: &'a Config, admin: &'a dyn Admin) -> Self {
        let plan = topology.plan();
        Self {
            plan,
            config,
            admin,
            problems: Vec::new(),
            is_unreachable: false,
            existing: BTreeMap::new(),
            rights: required_acls(plan, config),
        }
    }

    /// The problems so far, if there are any.
    fn refused(&mut self) -> Result<(), StartError> {
        match std::mem::take(&mut self.problems) {
            problems if problems.is_empty() => Ok(()),
            problems => Err(StartError::from_problems(problems)),
        }
    }

    /// The layout, and the internal topics that are missing.
    fn check_topics(&mut self) -> Option<(Layout, Vec<NewTopic>)> {
        let layout = self.layout();
        self.check_outputs();
        let checked = layout.map(|layout| {
            let missing = self.internal_topics(&layout);
            (layout, missing)
        });
        self.check_orphaned_topics();
        let users = [topics_read(self.plan), topics_written(self.plan)].concat();
        let users = users.into_iter().chain(dead_letter_topics(self.plan, self.config));
        let topics: BTreeSet<String> = users.chain(self.existing.keys().cloned()).collect();
        self.check_rights(&topics.into_iter().collect::<Vec<_>>());
        checked
    }

    fn refuse(&mut self, problem: impl Into<BoxError>) {
        self.problems.push(problem.into());
    }

    fn refuse_all(&mut self, problems: Vec<TopologyError>) {
        self.problems.extend(problems.into_iter().map(BoxError::from));
    }

    /// The log's answer, unless it has none.
    fn ask<T>(
        &mut self,
        what: impl Into<Asked>,
        call: impl FnOnce(&'a dyn Admin) -> Result<T, LogError>,
    ) -> Option<T> {
        if self.is_unreachable {
            return None;
        }
        let what = what.into();
        match call(self.admin) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.is_unreachable = matches!(error, LogError::Unavailable(_));
                let problem = LogProblem::of(error, what.what, &self.config.brokers);
                self.refuse(problem.wanting(what.rights));
                None
            }
        }
    }

    /// Looking at a topic, which whoever may do anything with it may do.
    fn describing(&self, topic: &str) -> Asked {
        let of_topic = |acl: &&Acl| acl.resource == AclResource::Topic && acl.name == topic;
        let rights = shown(self.rights.iter().filter(of_topic));
        Asked { what: format!("describe topic `{topic}`"), rights }
    }

    /// Checks what this principal may do with topics that are there.
    fn check_rights(&mut self, topics: &[String]) {
        if self.is_unreachable {
            return;
        }
        // Old brokers do not say. What is missing is found out later then, one by one.
        let answer = self.admin.topic_rights(topics).unwrap_or_else(|error| {
            tracing::debug!(%error, "it is not known what this principal may do with topics");
            Vec::new()
        });
        let required = std::mem::take(&mut self.rights);
        for (topic, rights) in topics.iter().zip(answer) {
            for right in rights.iter().flat_map(|&of| missing_rights(&required, topic, of)) {
                let action = format!("{:?}", right.operation).to_lowercase();
                self.refuse(LogProblem::NotAuthorised {
                    what: format!("{action} records of topic `{topic}`"),
                    grant: shown(std::iter::once(right)),
                    reason: "the log does not list that right".to_owned(),
                });
            }
        }
        self.rights = required;
    }

    /// What is known of each topic; nothing for one that the log does not speak of.
    fn topics(&mut self, names: &[String]) -> BTreeMap<String, Option<TopicInfo>> {
        let mut known = BTreeMap::new();
        for name in names {
            let asked = std::slice::from_ref(name);
            let answer = self.ask(self.describing(name), |admin| admin.topics(asked));
            if let Some(info) = answer.and_then(|infos| infos.into_iter().next()) {
                known.insert(name.clone(), info);
            }
        }
        known
    }

    fn layout(&mut self) -> Option<Layout> {
        let known = self.topics(&topics_read(self.plan));
        let counts = known.values().flatten().map(|info| (info.name.clone(), info.partitions));
        match Layout::new(self.plan, self.config, &counts.collect()) {
            Ok(layout) => Some(layout),
            Err(TopologyErrors(mut errors)) => {
                // Of these the log did not speak, which is a problem of its own.
                errors.retain(|error| match error {
                    TopologyError::MissingTopic { topic } => known.contains_key(topic),
                    _ => true,
                });
                self.refuse_all(errors);
                None
            }
        }
    }

    fn check_outputs(&mut self) {
        let read: BTreeSet<String> = topics_read(self.plan).into_iter().collect();
        let dead_letters: BTreeSet<String> =
            dead_letter_topics(self.plan, self.config).into_iter().collect();
        let mut written = topics_written(self.plan);
        for topic in dead_letters {
            if read.contains(&topic) {
                self.refuse(TopologyError::DeadLetterRead { topic });
            } else if !written.contains(&topic) {
                written.push(topic);
            }
        }
        written.retain(|topic| !read.contains(topic));
        for (topic, info) in self.topics(&written) {
            if info.is_none() {
                self.refuse(TopologyError::MissingTopic { topic });
            }
        }
    }

    /// Checks the internal topics that exist; returns the others.
    fn internal_topics(&mut self, layout: &Layout) -> Vec<NewTopic> {
        let names: Vec<String> =
            layout.internal_topics().iter().map(|topic| topic.name.clone()).collect();
        let mut known = self.topics(&names);
        if known.len() < names.len() {
            return Vec::new();
        }
        let infos: Vec<_> = names.iter().map(|name| known.remove(name).flatten()).collect();
        let missing = layout.check_existing(&infos).unwrap_or_else(|TopologyErrors(errors)| {
            self.refuse_all(errors);
            Vec::new()
        });
        let existing: Vec<String> = infos.into_iter().flatten().map(|info| info.name).collect();
        self.existing = existing.iter().map(|name| (name.clone(), Settings::new())).collect();
        self.read_settings(existing);
        missing
    }

    fn read_settings(&mut self, existing: Vec<String>) {
        if existing.is_empty() || self.is_unreachable {
            return;
        }
        let settings = match self.admin.topic_configs(&existing) {
            // Reading settings is a right of its own, and not needed for anything else.
            Err(LogError::NotAuthorised(why)) => {
                tracing::warn!(why, "the settings of internal topics cannot be checked");
                return;
            }
            answer => self.ask("read the settings of internal topics", |_| answer),
        };
        let Some(settings) = settings else { return };
        let settings = settings.into_iter().map(|pairs| pairs.into_iter().collect());
        self.existing = existing.into_iter().zip(settings).collect();
    }

    /// Checks that stores can read what is kept under their names, and that it is kept for as long
    /// as they need it.
    fn check_kept(&mut self, layout: &Layout, directory: Option<&StateDirectory>) {
        let kinds = match directory.map(StateDirectory::kinds).transpose() {
            Ok(kinds) => kinds.unwrap_or_default(),
            Err(error) => return self.refuse(error),
        };
        let mut existing = std::mem::take(&mut self.existing);
        for store in self.plan.stores() {
            let topic = changelog_topic(&self.config.application_id, &store.name);
            let settings = existing.get(&topic).filter(|_| store.changelog);
            let kept = Kept {
                stamped: kinds.get(&*store.name).map(String::as_str),
                changelog: settings.map(|_| &*topic),
                policy: settings.and_then(|settings| settings.get(POLICY)).map(String::as_str),
            };
            let wanted = layout.internal_topics().iter().find(|wanted| wanted.name == topic);
            let wanted = wanted.and_then(|topic| topic.configs.iter().find(|(k, _)| k == POLICY));
            let wanted = wanted.map_or("", |(_, policy)| policy);
            if let Some(problem) = changed_kind(store, wanted, kept) {
                self.refuse(problem);
                existing.remove(&topic);
            }
        }
        self.refuse_all(layout.check_settings(&existing));
    }

    /// Finds internal topics of this application that the pipeline has no use for. One that may as
    /// well belong to another application, which need not run, keeps nobody from starting.
    fn check_orphaned_topics(&mut self) {
        if self.config.orphans == Orphans::Keep {
            return;
        }
        let id = &self.config.application_id;
        let Some(topics) = self.ask("list topics", Admin::topic_names) else { return };
        let kept: Vec<_> = topics.iter().filter_map(|name| kept_under(name, id)).collect();
        let stores = self.plan.stores().iter().map(|store| changelog_topic(id, &store.name));
        let repartitions = self.plan.repartitions().iter();
        let repartitions = repartitions.map(|spec| repartition_topic(id, &spec.name));
        let used: BTreeSet<String> = stores.chain(repartitions).collect();
        let orphans = kept.into_iter().filter(|kept| !used.contains(kept.topic));
        let (sure, unsure): (Vec<_>, Vec<_>) = orphans.partition(InternalTopic::is_surely_ours);
        for InternalTopic { what, topic, .. } in sure {
            self.refuse(TopologyError::Orphaned { what, name: topic.to_owned() });
        }
        if unsure.is_empty() {
            return;
        }
        let Some(groups) = self.ask("list groups", Admin::groups) else { return };
        for InternalTopic { what, topic, .. } in unsure {
            if !is_of_another(topic, id, &groups) {
                tracing::warn!(
                    topic,
                    "this {what} is not of this pipeline: it belongs to another application, or \
                     is kept from before under a name that has gone; it is left as it is"
                );
            }
        }
    }

    fn directory(&mut self) -> Option<StateDirectory> {
        let cluster = self.ask("describe the cluster", Admin::cluster_id)?;
        let (root, id) = (&self.config.state_dir, &self.config.application_id);
        let budget = MemoryBudget::of(self.config);
        let key = self.config.state_encryption.as_ref();
        let directory = match StateDirectory::open_with(root, id, &cluster, budget, key) {
            Ok(directory) => directory,
            Err(error) => {
                self.refuse(error);
                return None;
            }
        };
        if self.config.orphans == Orphans::Refuse {
            match directory.orphans(&stores_on_disk(self.plan)) {
                Ok(orphans) => self.refuse_all(orphans.into_iter().map(local_orphan).collect()),
                Err(error) => self.refuse(error),
            }
        }
        Some(directory)
    }

    fn create(&mut self, missing: &[NewTopic]) {
        if missing.is_empty() {
            return;
        }
        let names: Vec<String> = missing.iter().map(|topic| topic.name.clone()).collect();
        let creates =
            |acl: &&Acl| acl.operation == AclOperation::Create && names.contains(&acl.name);
        let rights = shown(self.rights.iter().filter(creates));
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let what = format!("create the internal topics {}", quoted.join(", "));
        if self.ask(Asked { what, rights }, |admin| admin.create_topics(missing)).is_some() {
            self.check_rights(&names);
        }
    }

    fn adopt(&mut self, directory: &StateDirectory) {
        let on_disk = stores_on_disk(self.plan);
        let leaves_rows = |store: &&StoreSpec| store.changelog || on_disk.contains(&&*store.name);
        let stores = self.plan.stores().iter().filter(leaves_rows);
        let kinds: Vec<_> = stores.map(|store| (&*store.name, store.kind.word())).collect();
        if let Err(error) = directory.adopt(&on_disk, &kinds) {
            self.refuse(error);
        }
    }
}

/// The stores that leave something in the state directory.
fn stores_on_disk(plan: &Plan) -> Vec<&str> {
    if !cfg!(feature = "rocksdb") {
        return Vec::new();
    }
    let stores = plan.stores().iter().filter(|store| !store.in_memory);
    stores.map(|store| &*store.name).collect()
}

fn local_orphan(name: String) -> TopologyError {
    TopologyError::Orphaned { what: "local store", name }
}

/// A topic that is named as an internal one of the application.
struct InternalTopic<'a> {
    what: &'static str,
    topic: &'a str,
    /// That of its store or repartition, if it is the application's.
    name: &'a str,
}

impl InternalTopic<'_> {
    /// The topics of `orders-v2` begin with `orders-`, too.
    fn is_surely_ours(&self) -> bool {
        !self.name.contains('-')
    }
}

/// What a topic is, if it is named as an internal one of the application.
fn kept_under<'a>(topic: &'a str, application: &str) -> Option<InternalTopic<'a>> {
    let rest = topic.strip_prefix(application)?.strip_prefix('-')?;
    let kinds = [("changelog topic", "-changelog"), ("repartition topic", "-repartition")];
    kinds.into_iter().find_map(|(what, suffix)| {
        let name = rest.strip_suffix(suffix).filter(|name| !name.is_empty())?;
        Some(InternalTopic { what, topic, name })
    })
}

/// Whether the topic belongs to a group whose id begins like this application's.
fn is_of_another(topic: &str, application: &str, groups: &[String]) -> bool {
    let is_longer = |group: &&String| group.len() > application.len();
    let owns = |group: &String| topic.strip_prefix(&**group).is_some_and(|r| r.starts_with('-'));
    groups.iter().filter(is_longer).any(owns)
}
