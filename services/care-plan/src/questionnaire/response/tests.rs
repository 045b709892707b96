//! Small questionnaires, answered rightly and wrongly.
use serde_json::json;

use super::*;

fn questionnaire(items: Value) -> Questionnaire {
    let resource = json!({ "resourceType": "Questionnaire", "status": "active", "item": items });
    Questionnaire::parse(&resource.to_string()).unwrap()
}

fn wrong(questionnaire: &Questionnaire, items: Value, policy: &Policy) -> Vec<String> {
    let response =
        json!({ "resourceType": "QuestionnaireResponse", "status": "completed", "item": items });
    let checked = questionnaire.check(&response, policy);
    checked.err().into_iter().flatten().map(|v| format!("{}: {}", v.field, v.why)).collect()
}

#[test]
fn an_answer_is_of_the_type_of_its_question() {
    let right = [
        ("boolean", json!({ "valueBoolean": true })),
        ("decimal", json!({ "valueDecimal": 1.5 })),
        ("decimal", json!({ "valueDecimal": "1.5" })),
        ("integer", json!({ "valueInteger": 3 })),
        ("date", json!({ "valueDate": "2024-02-29" })),
        ("dateTime", json!({ "valueDateTime": "2024-02-29T10:00:00Z" })),
        ("time", json!({ "valueTime": "10:00:00" })),
        ("string", json!({ "valueString": "a" })),
        ("text", json!({ "valueString": "a\nb" })),
        ("url", json!({ "valueUri": "https://example.org" })),
        ("open-choice", json!({ "valueString": "other" })),
        ("open-choice", json!({ "valueCoding": { "code": "a" } })),
        ("attachment", json!({ "valueAttachment": { "url": "Binary/1" } })),
        ("reference", json!({ "valueReference": { "reference": "Patient/1" } })),
        ("quantity", json!({ "valueQuantity": { "value": "5", "unit": "kg" } })),
    ];
    for (kind, answer) in &right {
        let asked = questionnaire(json!([{ "linkId": "q", "type": kind }]));
        let given = json!([{ "linkId": "q", "answer": [answer] }]);
        assert_eq!(wrong(&asked, given, &Policy::default()), [""; 0], "{kind} {answer}");
        for (other, answer) in &right {
            let alike = |kind: &str| match kind {
                "text" | "string" => "string".to_owned(),
                kind => kind.to_owned(),
            };
            if alike(kind) != alike(other) && !kind.contains("choice") && !other.contains("choice")
            {
                let given = json!([{ "linkId": "q", "answer": [answer] }]);
                let why = ["item[0].answer[0]: is of another type than the question"];
                assert_eq!(wrong(&asked, given, &Policy::default()), why, "{kind} {answer}");
            }
        }
    }
}

#[test]
fn everything_wrong_is_said_at_once_with_its_path() {
    let asked = questionnaire(json!([
        { "linkId": "name", "type": "string", "maxLength": 3, "required": true },
        { "linkId": "pick", "type": "choice", "answerOption": [{ "valueInteger": 1 }, { "valueString": "b" }] },
        { "linkId": "group", "type": "group", "required": true, "item": [
            { "linkId": "inner", "type": "boolean", "required": true },
            { "linkId": "say", "type": "display" }] },
    ]));
    let given = json!([
        { "linkId": "name", "answer": [{ "valueString": "Anna" }, { "valueString": "B" }] },
        { "linkId": "pick", "answer": [{ "valueInteger": 2 }] },
        { "linkId": "group", "item": [
            { "linkId": "say", "answer": [{ "valueString": "x" }] },
            { "linkId": "nowhere" }] },
        { "linkId": "inner" },
        {},
    ]);
    assert_eq!(
        wrong(&asked, given, &Policy::default()),
        [
            "item[3].linkId: is not asked here",
            "item[4].linkId: is required",
            "item[0].answer[1]: is one answer more than the question takes",
            "item[0].answer[0]: is longer than the question takes",
            "item[1].answer[0]: is none of the options",
            "item[2].item[1].linkId: is not asked here",
            "item[2].item.where(linkId='inner'): is required",
            "item[2].item[0].answer: belongs to a group or display, which asks nothing",
        ]
    );
}

#[test]
fn a_reason_stands_for_an_answer_only_where_the_policy_takes_it() {
    let asked = questionnaire(json!([{ "linkId": "q", "type": "boolean", "required": true }]));
    let said =
        json!([{ "linkId": "q", "extension": [{ "url": ABSENT, "valueCode": "asked-declined" }] }]);
    let beside = json!([{ "linkId": "q", "answer": [{ "_valueBoolean": { "extension": [
        { "url": ABSENT, "valueCode": "asked-declined" }] } }] }]);
    let reasons = Policy { reasons: true, ..Policy::default() };
    for given in [said, beside] {
        assert_eq!(wrong(&asked, given.clone(), &reasons), [""; 0]);
        let required = ["item.where(linkId='q'): is required"];
        assert_eq!(wrong(&asked, given, &Policy::default()), required);
    }
    let excused = BTreeMap::from([("q".to_owned(), "refused".to_owned())]);
    let excused = Policy { excused, ..Policy::default() };
    assert_eq!(wrong(&asked, json!([]), &excused), [""; 0]);
    let empty = json!({ "resourceType": "QuestionnaireResponse", "status": "completed" });
    let answers = asked.check(&empty, &excused).unwrap();
    assert_eq!(answers.absent().get("q").map(String::as_str), Some("refused"));
    assert_eq!(wrong(&asked, json!([]), &Policy { draft: true, ..Policy::default() }), [""; 0]);
}

#[test]
fn a_condition_decides_whether_a_question_is_asked() {
    // Operator, what it compares with, the answer it needs, one that it refuses; and without one.
    let cases = [
        ("exists", json!({ "answerBoolean": true }), Some(1), None),
        ("exists", json!({ "answerBoolean": false }), None, Some(1)),
        ("=", json!({ "answerInteger": 2 }), Some(2), Some(3)),
        ("!=", json!({ "answerInteger": 2 }), Some(3), Some(2)),
        ("!=", json!({ "answerInteger": 2 }), None, Some(2)),
        (">", json!({ "answerInteger": 2 }), Some(3), Some(2)),
        ("<", json!({ "answerInteger": 2 }), Some(1), None),
        (">=", json!({ "answerDecimal": 2.5 }), Some(3), Some(2)),
        ("<=", json!({ "answerInteger": 2 }), Some(2), Some(3)),
    ];
    for (operator, mut when, enabling, disabling) in cases {
        when["question"] = json!("n");
        when["operator"] = json!(operator);
        let asked = questionnaire(json!([
            { "linkId": "n", "type": "integer" },
            { "linkId": "then", "type": "boolean", "required": true, "enableWhen": [when] },
        ]));
        let given = |n: Option<i32>, then: bool| {
            let n = n.map(|n| json!({ "linkId": "n", "answer": [{ "valueInteger": n }] }));
            let then =
                then.then(|| json!({ "linkId": "then", "answer": [{ "valueBoolean": true }] }));
            Value::Array(n.into_iter().chain(then).collect())
        };
        let policy = Policy::default();
        assert_eq!(wrong(&asked, given(enabling, true), &policy), [""; 0], "{operator}");
        assert_eq!(wrong(&asked, given(disabling, false), &policy), [""; 0], "{operator}");
        assert!(wrong(&asked, given(enabling, false), &policy)[0].ends_with("is required"));
        let refused = wrong(&asked, given(disabling, true), &policy);
        assert!(refused[0].ends_with("is not enabled by the other answers"), "{operator}");
    }
}

#[test]
fn any_or_all_conditions_and_the_closest_of_repeated_questions_count() {
    let when = |link: &str| json!({ "question": link, "operator": "=", "answerBoolean": true });
    let asked = questionnaire(json!([{ "linkId": "g", "type": "group", "repeats": true, "item": [
        { "linkId": "a", "type": "boolean" },
        { "linkId": "b", "type": "boolean", "item": [
            { "linkId": "any", "type": "string", "enableBehavior": "any", "enableWhen": [when("a"), when("b")] },
            { "linkId": "all", "type": "string", "enableBehavior": "all", "enableWhen": [when("a"), when("b")] }] },
    ] }]));
    let group = |a: bool, b: bool, under: &[&str]| {
        let under: Vec<Value> = under
            .iter()
            .map(|link| json!({ "linkId": link, "answer": [{ "valueString": "x" }] }))
            .collect();
        json!({ "linkId": "g", "item": [
            { "linkId": "a", "answer": [{ "valueBoolean": a }] },
            { "linkId": "b", "answer": [{ "valueBoolean": b, "item": under }] }] })
    };
    let policy = Policy::default();
    let fine = json!([
        group(true, true, &["any", "all"]),
        group(false, true, &["any"]),
        group(false, false, &[])
    ]);
    assert_eq!(wrong(&asked, fine, &policy), [""; 0]);
    let not = json!([
        group(true, true, &[]),
        group(false, true, &["all"]),
        group(false, false, &["any"])
    ]);
    let why = "is not enabled by the other answers";
    assert_eq!(
        wrong(&asked, not, &policy),
        [
            format!("item[1].item[1].answer[0].item[0]: {why}"),
            format!("item[2].item[1].answer[0].item[0]: {why}"),
        ]
    );
}

#[test]
fn repetitions_times_conditions_are_bounded() {
    let when = json!({ "question": "a", "operator": "exists", "answerBoolean": true });
    let asked = questionnaire(json!([{ "linkId": "g", "type": "group", "repeats": true, "item": [
        { "linkId": "a", "type": "boolean" },
        { "linkId": "b", "type": "string", "enableBehavior": "any", "enableWhen": vec![when; 50] },
    ] }]));
    let group =
        json!({ "linkId": "g", "item": [{ "linkId": "a", "answer": [{ "valueBoolean": true }] }] });
    let policy = Policy::default();
    assert_eq!(wrong(&asked, json!(vec![group.clone(); 100]), &policy), [""; 0]);
    let many = wrong(&asked, json!(vec![group.clone(); 1_000]), &policy);
    assert_eq!(many, ["item: repeats more than can be checked against the conditions"]);
    let more = wrong(&asked, json!(vec![group; 5_000]), &policy);
    assert_eq!(more, ["item: holds more than 5000 items and answers, or is nested too deep"]);
}
