//! What becomes of the real files.
use std::{
    fs,
    future::Future,
    path::PathBuf,
    pin::pin,
    task::{Context, Poll, Waker},
};

use caseward_api::{
    careplan::v1::{CaseBundle, activity, care_plan, case, goal, problem},
    patient::v1::Patient,
};
use caseward_fhir::{
    Batch, Counts, PART_SYSTEM, Reading, Report, SOURCE_SYSTEM, URI_SYSTEM, import,
};

use crate::{memory::Memory, read::data};

/// Runs a future that never waits: the sink here is memory. A program may run it in a task, so it can be sent.
pub(crate) fn now<F: Future + Send>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn run(paths: &[PathBuf], into: &mut Memory) -> Report {
    let mut report = Report::default();
    now(import(Reading::of(paths), "", into, &mut report)).unwrap();
    report
}

/// Imports one part of the real input, where it is.
fn imported(part: &str) -> Option<(Memory, Report)> {
    let mut memory = Memory::default();
    let report = run(&[data(part)?], &mut memory);
    Some((memory, report))
}

/// Imports a Bundle that the test wrote.
fn written(bundle: &str) -> (Memory, Report) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.json");
    fs::write(&path, bundle).unwrap();
    let mut memory = Memory::default();
    let report = run(&[path], &mut memory);
    (memory, report)
}

fn created(created: u64) -> Counts {
    Counts { created, ..Counts::default() }
}

fn patients(memory: &Memory) -> Vec<&Patient> {
    let all = memory.batches.iter().filter_map(|batch| match batch {
        Batch::Patients(all) => Some(all),
        _ => None,
    });
    all.flatten().collect()
}

fn patient<'a>(memory: &'a Memory, family: &str) -> &'a Patient {
    patients(memory).into_iter().find(|one| one.names[0].family == family).unwrap()
}

fn case<'a>(memory: &'a Memory, title: &str) -> &'a CaseBundle {
    memory.cases.iter().find(|one| one.case.as_ref().unwrap().title == title).unwrap()
}

#[test]
fn all_of_the_real_input_goes_in_and_a_second_import_changes_nothing() {
    let parts = ["synthea", "provider-directory", "care-plans-sdoh"];
    let Some(paths) = parts.into_iter().map(data).collect::<Option<Vec<_>>>() else { return };
    let mut memory = Memory::default();
    let report = run(&paths, &mut memory);

    let failures: Vec<(&str, &str, &str, &str)> = report
        .failures
        .iter()
        .map(|one| (one.file.rsplit('/').next().unwrap(), &*one.entry, &*one.path, &*one.reason))
        .collect();
    let examples = "fhir-r4-spec-examples.ndjson.gz";
    let absent = "refers to a resource that is neither in the input nor known";
    let exceptions =
        "holds exceptions that cannot be kept; permission without them would go too far";
    assert_eq!(
        failures,
        [
            // Their patients are in the other half of the examples.
            (examples, "line 120", "RelatedPerson.patient", absent),
            (examples, "line 121", "RelatedPerson.patient", absent),
            (examples, "line 32", "Coverage.beneficiary", absent),
            // Permits everything but; without the exception it would permit everything.
            (examples, "line 31", "Consent.provision.provision", exceptions),
            (examples, "line 20", "Condition.subject", absent),
            (examples, "line 21", "Condition.subject", absent),
            (examples, "line 6", "CarePlan.subject", absent),
            (examples, "line 7", "CarePlan.subject", absent),
            (examples, "line 8", "CarePlan.subject", absent),
        ]
    );
    for (resource_type, counts) in [
        ("Patient", created(35)),
        ("RelatedPerson", Counts { failed: 2, ..created(5) }),
        // 79 persons and payers within claims, the US Core example; nine are not insured.
        ("Coverage", Counts { ignored: 9, failed: 1, ..created(81) }),
        ("Consent", Counts { failed: 1, ..created(8) }),
        // Two files hold the same hospitals and practitioners again.
        ("Organization", Counts { unchanged: 24, ..created(299) }),
        ("Location", created(554)),
        ("Practitioner", Counts { unchanged: 5, ..created(723) }),
        ("PractitionerRole", created(674)),
        ("HealthcareService", created(112)),
        ("InsurancePlan", created(15)),
        ("Condition", Counts { failed: 2, ..created(464) }),
        ("CareTeam", created(51)),
        ("CarePlan", Counts { failed: 3, ..created(65) }),
        ("Goal", created(62)),
        ("Questionnaire", created(5)),
        ("Observation", Counts { ignored: 2547, ..Counts::default() }),
        ("Claim", Counts { ignored: 871, ..Counts::default() }),
        ("ExplanationOfBenefit", Counts { ignored: 631, ..Counts::default() }),
    ] {
        assert_eq!(report.resources[resource_type], counts, "{resource_type}");
    }

    let again = run(&paths, &mut memory);
    assert_eq!((again.total().created, again.total().updated), (0, 0));
    assert_eq!(again.total().failed, report.total().failed);
    assert_eq!(again.failures, report.failures);
}

#[test]
fn resources_without_ids_are_known_by_their_full_urls() {
    let Some((memory, report)) = imported("synthea/mcc-2022") else { return };
    assert_eq!(report.failures, []);
    assert_eq!(report.resources["Patient"], created(10));
    for patient in patients(&memory) {
        let uuid = &patient.identifiers[0];
        assert!(uuid.system == URI_SYSTEM && uuid.value.starts_with("urn:uuid:"));
    }
}

#[test]
fn two_persons_alike_in_birth_sex_and_city_stay_two() {
    let Some((memory, _)) = imported("synthea/mcc-2022") else { return };
    let (dead, alive) = (patient(&memory, "Rempel203"), patient(&memory, "Miller503"));
    assert_eq!(dead.birth_date, alive.birth_date);
    assert_eq!(dead.addresses[0].city, alive.addresses[0].city);
    assert!(dead.deceased && !alive.deceased);
    assert_eq!(dead.deceased_time.unwrap().seconds / 31_556_952 + 1970, 1994);
    let zips = [dead, alive].map(|one| one.addresses[0].postal_code.is_empty());
    assert_eq!(zips.iter().filter(|empty| **empty).count(), 1);
}

#[test]
fn conditional_references_lead_to_the_directory() {
    let Some((memory, report)) = imported("synthea/mcc-2022") else { return };
    let members: Vec<_> = memory.cases.iter().flat_map(|case| &case.members).collect();
    assert_eq!(members.iter().filter(|one| !one.practitioner.is_empty()).count(), 33);
    assert_eq!(members.iter().filter(|one| !one.organization.is_empty()).count(), 33);
    assert!(
        report.warnings.iter().all(|one| !one.path.starts_with("CareTeam")),
        "{:?}",
        report.warnings
    );
    let roles: Vec<_> = memory
        .batches
        .iter()
        .filter_map(|batch| match batch {
            Batch::PractitionerRoles(all) => Some(all),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(
        roles.iter().all(|role| !role.practitioner.is_empty() && !role.organization.is_empty())
    );
    assert!(roles.iter().all(|role| role.locations.len() == 1));
}

#[test]
fn a_care_plan_becomes_a_case_with_its_goal_that_names_no_plan() {
    let Some((memory, report)) = imported("synthea/mcc-2022") else { return };
    assert_eq!(memory.cases.len(), 33);
    assert_eq!(report.resources["Goal"], created(33));
    for case in &memory.cases {
        let plan = &case.plans[0];
        assert_eq!(plan.goals.len(), 1);
        let words = &plan.goals[0].description.as_ref().unwrap().text;
        assert_eq!(words, &case.case.as_ref().unwrap().title);
        assert_eq!(plan.goals[0].achievement(), goal::Achievement::InProgress);
    }
    let nigel = patient(&memory, "Reilly981");
    let uuid = &nigel.identifiers[0].value;
    assert_eq!(uuid, "urn:uuid:fc7fb56f-f384-f6ae-4266-ce3282cd2069");
    let cases = memory.cases.iter().filter(|one| {
        one.plans[0].care_plan.as_ref().unwrap().identifiers[0].value
            == "urn:uuid:cb3d713c-293c-22e3-459e-ca28c024e56c"
    });
    let [nigels] = cases.collect::<Vec<_>>()[..] else { panic!("one case") };
    let case = nigels.case.as_ref().unwrap();
    assert_eq!(case.title, "Respiratory therapy");
    assert_eq!(case.state(), case::State::Closed);
    assert!(case.patient.starts_with("Patient/"));
    let plan = nigels.plans[0].care_plan.as_ref().unwrap();
    assert_eq!(plan.state(), care_plan::State::Completed);
    assert_eq!(plan.period.unwrap().end.unwrap().seconds, 1_535_108_752);
    let activity = &nigels.plans[0].activities[0];
    assert_eq!(activity.state(), activity::State::Completed);
    assert_eq!(activity.identifiers[0].system, PART_SYSTEM);
    assert!(activity.identifiers[0].value.ends_with("#activity/0"));
    assert_eq!(nigels.members.len(), 3);
    assert_eq!(nigels.members[0].display, "Mr. Nigel915 Reilly981");
}

#[test]
fn a_collection_far_east_keeps_its_instants() {
    let Some((memory, report)) = imported("synthea/pathling-collection") else { return };
    assert_eq!(report.failures, []);
    assert_eq!(report.resources["Patient"], created(4));
    assert_eq!(report.resources["CarePlan"], created(9));
    let dead = patients(&memory).into_iter().find(|one| one.deceased).unwrap();
    // 2014-01-03T05:43:59+10:00
    assert_eq!(dead.deceased_time.unwrap().seconds, 1_388_691_839);
}

#[test]
fn coverage_is_taken_from_claims_once_per_person_and_payer() {
    let Some((memory, report)) = imported("synthea/sof-2019") else { return };
    let all: Vec<_> = memory
        .batches
        .iter()
        .filter_map(|batch| match batch {
            Batch::Coverages(all) => Some(all),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(report.resources["Coverage"].created, all.len() as u64);
    for one in &all {
        let coverage = one.coverage.as_ref().unwrap();
        assert!(one.patient.starts_with("Patient/") && !coverage.payer_display.is_empty());
        assert_ne!(coverage.payer_display, "NO_INSURANCE");
        assert!(coverage.identifiers[0].value.contains('#'));
    }
}

#[test]
fn a_shared_number_identifies_nobody_and_a_number_is_text() {
    let Some((_, report)) = imported("provider-directory") else { return };
    assert_eq!(report.failures, []);
    let warned = |path: &str, reason: &str| {
        report
            .warnings
            .iter()
            .filter(|one| one.path == path && one.reason.contains(reason))
            .map(|one| one.count)
            .sum::<u64>()
    };
    assert_eq!(warned("Organization.identifier.value", "is a number"), 67);
    assert_eq!(warned("Practitioner.qualification.identifier.value", "is a number"), 2);
    // Four organizations of the guide's examples have the NPI of one.
    assert_eq!(warned("Organization.identifier", "is shared"), 4);
}

#[test]
fn plan_net_keeps_networks_hours_and_who_takes_new_patients() {
    let Some((memory, _)) = imported("provider-directory/plannet-ct") else { return };
    let mut roles = 0;
    for batch in &memory.batches {
        match batch {
            Batch::PractitionerRoles(all) => {
                roles += all.len();
                for role in all {
                    assert_eq!(role.networks.len(), 1);
                    assert_eq!((role.hours.len(), role.hours[0].days.len()), (1, 4));
                    assert_eq!(
                        (&*role.hours[0].start_time, &*role.hours[0].end_time),
                        ("09:00", "12:00")
                    );
                    assert!(!role.healthcare_services.is_empty());
                }
            }
            Batch::HealthcareServices(all) => {
                assert!(all.iter().all(|one| one.new_patients.len() == 1));
                assert!(all.iter().all(|one| one.delivery_methods.len() == 1));
                // A chain of pharmacies.
                assert_eq!(all.iter().map(|one| one.locations.len()).max(), Some(176));
            }
            Batch::Locations(all) => assert!(all.iter().all(|one| one.hours[0].all_day)),
            Batch::Practitioners(all) => {
                assert!(all.iter().all(|one| one.languages[0] == "en"));
                let licensed = all.iter().filter(|one| !one.qualifications.is_empty());
                assert!(licensed.flat_map(|one| &one.qualifications).all(|one| one.code.is_some()));
            }
            _ => {}
        }
    }
    assert_eq!(roles, 536);
}

#[test]
fn a_plan_that_says_all_becomes_a_whole_case() {
    let Some((memory, report)) = imported("care-plans-sdoh/chronic-care") else { return };
    assert_eq!(report.failures, []);
    let ckd = case(&memory, "CKD Care Plan");
    assert_eq!(ckd.case.as_ref().unwrap().state(), case::State::Active);
    assert_eq!((ckd.members.len(), ckd.problems.len()), (7, 2));
    let plan = &ckd.plans[0];
    assert_eq!((plan.goals.len(), plan.activities.len()), (3, 6));
    let problems = &plan.care_plan.as_ref().unwrap().problems;
    assert_eq!(
        problems[0],
        format!("?identifier={SOURCE_SYSTEM}|Condition/cc-cond-betsy-diabetes")
    );
    // What the plan only refers to says itself what it is.
    assert!(plan.activities.iter().all(|one| one.code.is_some()));
    assert!(ckd.members.iter().any(|one| one.related_person.starts_with("Patient/")));
    let personal = case(&memory, "Personal Care Plan");
    assert_eq!(personal.plans[0].activities[0].kind(), activity::Kind::SelfCare);
    assert_eq!(
        personal.plans[0].activities[0].schedule.as_ref().unwrap().recurrence,
        "FREQ=DAILY;INTERVAL=1"
    );
    // Twelve conditions; those that no plan or goal addresses are the patient's own.
    let addressed: std::collections::BTreeSet<_> = memory
        .cases
        .iter()
        .flat_map(|case| &case.problems)
        .map(|problem| problem.identifiers[0].value.clone())
        .collect();
    let alone: usize = memory
        .batches
        .iter()
        .map(|batch| if let Batch::Problems(all) = batch { all.len() } else { 0 })
        .sum();
    assert_eq!(addressed.len() + alone, 12);
    assert!(
        memory
            .cases
            .iter()
            .flat_map(|case| &case.problems)
            .all(|one| one.state() == problem::State::Active)
    );
}

#[test]
fn goals_and_teams_without_a_plan_become_a_case_that_nobody_is_enrolled_in() {
    let Some((memory, report)) = imported("care-plans-sdoh/mcc") else { return };
    assert_eq!(report.failures, []);
    let [only] = &memory.cases[..] else { panic!("one case, {}", memory.cases.len()) };
    assert_eq!(only.case.as_ref().unwrap().state(), case::State::Identified);
    assert_eq!(only.plans[0].care_plan.as_ref().unwrap().state(), care_plan::State::Draft);
    assert_eq!(report.resources["Goal"].created, only.plans[0].goals.len() as u64);
    assert_eq!(report.resources["CareTeam"], created(2));
}

#[test]
fn two_patients_called_example_stay_two() {
    let Some((memory, _)) = imported("care-plans-sdoh") else { return };
    // Amy Baxter was Shaw before.
    let (chalmers, baxter) = (patient(&memory, "Chalmers"), patient(&memory, "Baxter"));
    let plain = |one: &Patient| one.identifiers.iter().any(|one| one.system == SOURCE_SYSTEM);
    assert!(!plain(chalmers) && !plain(baxter));
    // Betsy and Patricia share two identifiers, and are known by what is their own.
    assert!(plain(patient(&memory, "Johnson")) && plain(patient(&memory, "Noelle")));
}

#[test]
fn one_bad_entry_costs_that_entry_and_what_cannot_be_without_it() {
    let (memory, report) = written(
        r#"{"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111", "resource":
            {"resourceType": "Patient", "name": [{"family": "Doe"}], "birthDate": "1971-02-30"}},
        {"fullUrl": "urn:uuid:22222222-2222-4222-8222-222222222222", "resource":
            {"resourceType": "Patient", "name": {"family": "Roe"}, "gender": "male"}},
        {"resource": {"resourceType": "Condition", "id": "c", "code": {"text": "pain"},
            "subject": {"reference": "urn:uuid:11111111-1111-4111-8111-111111111111"}}},
        {"resource": {"resourceType": "Goal", "id": "g", "lifecycleStatus": "dreamt", "description": {"text": "x"},
            "subject": {"reference": "urn:uuid:22222222-2222-4222-8222-222222222222"}}},
        {"resource": {"resourceType": "CarePlan", "id": "p", "status": "active", "intent": "plan",
            "goal": [{"reference": "Goal/g"}], "period": {"start": "2020-10-01T08:00:00"},
            "subject": {"reference": "Patient/22222222-2222-4222-8222-222222222222"}}}]}"#,
    );
    let failures: Vec<_> =
        report.failures.iter().map(|one| (&*one.entry, &*one.path, &*one.reason)).collect();
    assert_eq!(
        failures,
        [
            ("entry[0]", "Patient.birthDate", "wants a date that exists, such as 1971-04-30"),
            ("entry[2]", "Condition.subject", "refers to a resource that was refused"),
            ("entry[3]", "Goal.lifecycleStatus", "wants a code of goal-status"),
        ]
    );
    assert_eq!(patients(&memory).len(), 1);
    assert_eq!(memory.cases.len(), 1);
    assert!(memory.cases[0].plans[0].goals.is_empty());
    let warned = |reason: &str| report.warnings.iter().any(|one| one.reason.contains(reason));
    assert!(warned("is not a list") && warned("without a zone"));
}

#[test]
fn what_nothing_identifies_is_known_by_what_it_says() {
    let bundle = r#"{"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Practitioner", "name": [{"family": "Ito"}]}},
        {"resource": {"resourceType": "Practitioner", "name": [{"family": "Ono"}]}}]}"#;
    let (mut memory, report) = written(bundle);
    assert_eq!(report.resources["Practitioner"], created(2));
    assert_eq!(report.warnings[0].count, 2);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("again.json"), bundle.replace(": ", ":\n")).unwrap();
    let again = run(&[folder.path().to_owned()], &mut memory);
    assert_eq!(again.resources["Practitioner"], Counts { unchanged: 2, ..Counts::default() });
}

#[test]
fn of_two_versions_the_one_updated_last_counts_wherever_it_stands() {
    let version = |day: u8, family: &str| {
        format!(
            r#"{{"resource": {{"resourceType": "Patient", "id": "p", "meta": {{"lastUpdated": "2024-05-0{day}T08:00:00Z"}},
            "name": [{{"family": "{family}"}}]}}}}"#
        )
    };
    for (one, other) in [(1, 2), (2, 1)] {
        let (one, other) =
            (version(one, &format!("Day {one}")), version(other, &format!("Day {other}")));
        let (memory, report) = written(&format!(
            r#"{{"resourceType": "Bundle", "type": "collection", "entry": [{one}, {other}]}}"#
        ));
        assert_eq!(patients(&memory)[0].names[0].family, "Day 2");
        assert_eq!(report.resources["Patient"], Counts { unchanged: 1, ..created(1) });
    }
}

#[test]
fn every_version_of_a_questionnaire_goes_in() {
    let version = |version: &str| {
        format!(
            r#"{{"resource": {{"resourceType": "Questionnaire", "id": "q", "url": "urn:q", "version": "{version}", "status": "active"}}}}"#
        )
    };
    let (memory, report) = written(&format!(
        r#"{{"resourceType": "Bundle", "type": "collection", "entry": [{}, {}, {}]}}"#,
        version("1"),
        version("2"),
        version("1")
    ));
    assert_eq!(report.resources["Questionnaire"], Counts { unchanged: 1, ..created(2) });
    let [Batch::Questionnaires(forms)] = &memory.batches[..] else {
        panic!("{:?}", memory.batches)
    };
    assert!(
        forms[0].json.contains(r#""version":"1""#) && forms[1].json.contains(r#""version":"2""#)
    );
}

#[test]
fn records_that_say_little_are_kept_as_far_as_they_go() {
    let (memory, report) = written(
        r#"{"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Organization", "id": "o", "alias": ["Harbor"], "identifier": [{"system": "urn:x", "value": "1"}]}},
        {"resource": {"resourceType": "Location", "id": "l"}},
        {"resource": {"resourceType": "Patient", "id": "p", "name": [{"family": "Ng"}]}},
        {"resource": {"resourceType": "Coverage", "id": "c", "status": "active", "beneficiary": {"reference": "Patient/p"},
            "payor": [{"reference": "Organization/elsewhere"}]}},
        {"resource": {"resourceType": "Goal", "id": "g", "lifecycleStatus": "active", "subject": {"reference": "Patient/p"},
            "description": {"text": "Move"}, "target": [{"measure": {"text": "Exercises"}}, {}]}}]}"#,
    );
    assert_eq!(report.failures, []);
    let [
        Batch::Organizations(organizations),
        Batch::Locations(locations),
        _,
        Batch::Coverages(coverages),
    ] = &memory.batches[..]
    else {
        panic!("{:?}", memory.batches)
    };
    assert_eq!(organizations[0].display_name, "Harbor");
    assert_eq!(locations[0].display_name, "Unnamed");
    assert_eq!(coverages[0].coverage.as_ref().unwrap().payer_display, "Organization/elsewhere");
    let targets = &memory.cases[0].plans[0].goals[0].targets;
    assert_eq!((targets.len(), &*targets[0].detail), (1, "Exercises"));
}

#[test]
fn a_reference_to_an_earlier_import_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        [path]
    };
    let first =
        write("1.json", r#"{"resourceType": "Patient", "id": "a", "name": [{"text": "A"}]}"#);
    let second = write(
        "2.json",
        r#"{"resourceType": "RelatedPerson", "id": "r", "name": [{"text": "B"}], "patient": {"reference": "Patient/a"}}"#,
    );
    let mut memory = Memory::default();
    assert!(!run(&second, &mut memory).is_clean());
    assert!(run(&first, &mut memory).is_clean());
    assert!(run(&second, &mut memory).is_clean());
}
