//! The words of the shipped templates. None names a condition, a person or a place; all lead to the portal.
use super::*;

const PATIENT: &[Channel] = &[Channel::Email, Channel::Inbox];
const STAFF: &[Channel] = &[Channel::Inbox];

pub(super) const ALL: [Shipped; 27] = [
    Shipped {
        key: CASE_ENROLLED,
        display_name: "Introduces the case manager",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Your care team",
                "Hello,\n\nyou now have a case manager: one person on your care team who answers for how your care fits together. See who it is and how to reach them:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Su equipo de atención",
                "Hola:\n\nya tiene una persona responsable de coordinar su atención dentro de su equipo. Vea quién es y cómo comunicarse con ella:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: ACCOUNTABILITY_MOVED,
        display_name: "Introduces a new case manager",
        channels: PATIENT,
        texts: [
            (
                "en",
                "A change in your care team",
                "Hello,\n\nsomebody else on your care team is your case manager from now on. Your plan stays as it is. See who it is and how to reach them:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Un cambio en su equipo de atención",
                "Hola:\n\na partir de ahora, otra persona de su equipo coordina su atención. Su plan sigue igual. Vea quién es y cómo comunicarse con ella:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: CASE_ASSIGNED,
        display_name: "Tells a case manager of a case that is theirs",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case is yours",
                "You are accountable for a case from now on. See whom it is about and what is due:\n{{ portal }}\n",
            ),
            (
                "es",
                "Un caso es suyo",
                "A partir de ahora usted responde por un caso. Vea de quién se trata y qué está pendiente:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CASE_TAKEN_OVER,
        display_name: "Tells a case manager that somebody else took a case over",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case of yours was taken over",
                "Somebody else is accountable for a case of yours from now on. See which:\n{{ portal }}\n",
            ),
            (
                "es",
                "Otra persona se hizo cargo de un caso suyo",
                "A partir de ahora otra persona responde por un caso suyo. Vea cuál:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: HANDOFF_PROPOSED,
        display_name: "Offers a case to a case manager",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case is offered to you",
                "Somebody wants to hand a case over to you. Accept or decline it:\n{{ portal }}\n",
            ),
            (
                "es",
                "Se le ofrece un caso",
                "Alguien quiere transferirle un caso. Acéptelo o rechácelo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: HANDOFF_DECLINED,
        display_name: "Tells a case manager that an offered case was declined",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case you offered was declined",
                "A case that you wanted to hand over was declined, and you are accountable still. See why:\n{{ portal }}\n",
            ),
            (
                "es",
                "Se rechazó un caso que usted ofreció",
                "Se rechazó un caso que usted quería transferir, y usted sigue respondiendo por él. Vea el motivo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: HANDOFF_EXPIRED,
        display_name: "Tells a case manager that nobody answered an offer",
        channels: STAFF,
        texts: [
            (
                "en",
                "Nobody answered your offer of a case",
                "Nobody took the case that you wanted to hand over, and you are accountable still. Offer it again:\n{{ portal }}\n",
            ),
            (
                "es",
                "Nadie respondió a su oferta de un caso",
                "Nadie aceptó el caso que usted quería transferir, y usted sigue respondiendo por él. Ofrézcalo de nuevo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: HANDOFF_UNANSWERED,
        display_name: "Tells supervisors that nobody answered the offer of a case",
        channels: STAFF,
        texts: [
            (
                "en",
                "Nobody answered the offer of a case",
                "Somebody wanted to hand a case over, and nobody answered in time. Whoever offered it is accountable still. See whether it needs you:\n{{ portal }}\n",
            ),
            (
                "es",
                "Nadie respondió a la oferta de un caso",
                "Alguien quería transferir un caso y nadie respondió a tiempo. Quien lo ofreció sigue respondiendo por él. Vea si hace falta que intervenga:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: TASK_OVERDUE,
        display_name: "Tells staff that a task is late",
        channels: STAFF,
        texts: [
            (
                "en",
                "A task of yours is late",
                "A task that is yours was due and is not done. See which:\n{{ portal }}\n",
            ),
            (
                "es",
                "Una tarea suya está atrasada",
                "Una tarea suya venció y no está hecha. Vea cuál:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: TASK_ASSIGNED,
        display_name: "Tells staff of a task",
        channels: STAFF,
        texts: [
            (
                "en",
                "A task for you",
                "A task was assigned to you. See what it is and when it is due:\n{{ portal }}\n",
            ),
            (
                "es",
                "Una tarea para usted",
                "Se le asignó una tarea. Vea de qué se trata y para cuándo es:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: TASK_OFFERED,
        display_name: "Tells supervisors of a task that waits for one of them",
        channels: STAFF,
        texts: [
            (
                "en",
                "A task waits for a supervisor",
                "A task waits for one of you to take it. See what it is and when it is due:\n{{ portal }}\n",
            ),
            (
                "es",
                "Una tarea espera a un supervisor",
                "Una tarea espera a que alguno de ustedes la tome. Vea de qué se trata y para cuándo es:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: TASK_UNCLAIMED,
        display_name: "Tells supervisors that a task is late that nobody took",
        channels: STAFF,
        texts: [
            (
                "en",
                "A task that nobody took is late",
                "A task was due, and nobody has it. Give it to somebody:\n{{ portal }}\n",
            ),
            (
                "es",
                "Una tarea que nadie tomó está atrasada",
                "Una tarea venció y nadie la tiene a su cargo. Asígnela a alguien:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CRITICAL_ITEM,
        display_name: "Tells staff of an answer that cannot wait",
        channels: STAFF,
        texts: [
            (
                "en",
                "Urgent: an answer needs you now",
                "An assessment of somebody in your care holds an answer that cannot wait. Act on the task that was raised:\n{{ portal }}\n",
            ),
            (
                "es",
                "Urgente: una respuesta requiere su atención",
                "Una evaluación de una persona a su cargo contiene una respuesta que no puede esperar. Atienda la tarea que se creó:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: PLAN_ACTIVATED,
        display_name: "Tells that a copy of the plan is there",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Your plan is ready",
                "Hello,\n\nthe plan that you made with your care team begins. Your copy is here:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Su plan está listo",
                "Hola:\n\ncomienza el plan que preparó con su equipo de atención. Su copia está aquí:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: PLAN_COPY,
        display_name: "Tells the care team that a copy of the plan is there",
        channels: STAFF,
        texts: [
            (
                "en",
                "A plan of your team is in force",
                "A care plan of a team that you are on is carried out from now on. Your copy is here:\n{{ portal }}\n",
            ),
            (
                "es",
                "Un plan de su equipo está en vigor",
                "A partir de ahora se lleva a cabo un plan de atención de un equipo del que usted forma parte. Su copia está aquí:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: PLAN_SUBMITTED,
        display_name: "Tells supervisors that a plan waits for approval",
        channels: STAFF,
        texts: [
            (
                "en",
                "A plan waits for approval",
                "A care plan was submitted. Approve it, or send it back with a comment:\n{{ portal }}\n",
            ),
            (
                "es",
                "Un plan espera aprobación",
                "Se presentó un plan de atención. Apruébelo o devuélvalo con un comentario:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: PLAN_RETURNED,
        display_name: "Tells whoever wrote a plan that it came back",
        channels: STAFF,
        texts: [
            (
                "en",
                "A plan of yours came back",
                "A care plan that you wrote was not approved yet. See what is to be changed:\n{{ portal }}\n",
            ),
            (
                "es",
                "Se le devolvió un plan",
                "Un plan de atención que usted escribió todavía no fue aprobado. Vea qué hay que cambiar:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: PLAN_APPROVED,
        display_name: "Tells whoever wrote a plan that it was approved",
        channels: STAFF,
        texts: [
            (
                "en",
                "A plan of yours was approved",
                "A care plan that you wrote was approved. What is missing is the agreement of the person:\n{{ portal }}\n",
            ),
            (
                "es",
                "Se aprobó un plan suyo",
                "Se aprobó un plan de atención que usted escribió. Falta el acuerdo de la persona:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CASE_PAUSED,
        display_name: "Tells that the work pauses",
        channels: PATIENT,
        texts: [
            (
                "en",
                "A pause in our work",
                "Hello,\n\nour work together pauses for a while. Nothing is lost, and you can reach your care team all the same. See when we expect to go on:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Una pausa en nuestro trabajo",
                "Hola:\n\nnuestro trabajo juntos se detiene por un tiempo. No se pierde nada y usted puede seguir comunicándose con su equipo de atención. Vea cuándo esperamos continuar:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: CASE_PAUSED_TEAM,
        display_name: "Tells the care team that the work pauses",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case of your team is paused",
                "A case of a team that you are on is paused, and what is due waits with it. See which, and until when:\n{{ portal }}\n",
            ),
            (
                "es",
                "Un caso de su equipo está en pausa",
                "Un caso de un equipo del que usted forma parte está en pausa, y lo pendiente espera con él. Vea cuál y hasta cuándo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CASE_RESUMED,
        display_name: "Tells that the work goes on",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Our work goes on",
                "Hello,\n\nthe pause is over and our work together goes on. See what comes next:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Nuestro trabajo continúa",
                "Hola:\n\nla pausa terminó y nuestro trabajo juntos continúa. Vea lo que sigue:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: CASE_RESUMED_TEAM,
        display_name: "Tells the care team that the work goes on",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case of your team goes on",
                "A case of a team that you are on goes on after a pause. See which, and what is due now:\n{{ portal }}\n",
            ),
            (
                "es",
                "Un caso de su equipo continúa",
                "Un caso de un equipo del que usted forma parte continúa después de una pausa. Vea cuál y lo que está pendiente ahora:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CLOSURE_PROPOSED,
        display_name: "Tells supervisors that a closure waits for their word",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case is to be closed",
                "Somebody proposes to close a case. Close it, or send it back with a reason:\n{{ portal }}\n",
            ),
            (
                "es",
                "Se propone cerrar un caso",
                "Alguien propone cerrar un caso. Ciérrelo o devuélvalo con un motivo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CLOSURE_RETURNED,
        display_name: "Tells a case manager that a proposed closure came back",
        channels: STAFF,
        texts: [
            (
                "en",
                "A case of yours is not closed yet",
                "A supervisor sent the closure of a case of yours back. See why:\n{{ portal }}\n",
            ),
            (
                "es",
                "Un caso suyo todavía no se cierra",
                "Un supervisor devolvió el cierre de un caso suyo. Vea el motivo:\n{{ portal }}\n",
            ),
        ],
    },
    Shipped {
        key: CASE_CLOSED,
        display_name: "Says goodbye",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Our work together",
                "Hello,\n\nour work together is complete for now. What we did and whom to ask from here on is kept for you:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Nuestro trabajo juntos",
                "Hola:\n\nnuestro trabajo juntos ha concluido por ahora. Lo que hicimos y a quién acudir de aquí en adelante queda guardado para usted:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: EMERGENCY_ACCESS,
        display_name: "Tells that somebody opened the record in an emergency",
        channels: PATIENT,
        texts: [
            (
                "en",
                "Somebody opened your record in an emergency",
                "Hello,\n\nsomebody who is not on your care team opened your record for up to an hour and said that it was an emergency. A supervisor will look into it. See who it was and why:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Alguien abrió su expediente por una emergencia",
                "Hola:\n\nuna persona que no es de su equipo de atención abrió su expediente por un máximo de una hora e indicó que era una emergencia. Un supervisor lo revisará. Vea quién fue y por qué:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
    Shipped {
        key: CHECK_PLAN,
        display_name: "Reminds of the plan",
        channels: PATIENT,
        texts: [
            (
                "en",
                "A look at your plan",
                "Hello,\n\nhow is it going? Take a look at your plan and tell us what has changed:\n{{ portal }}\n\nYour care team\n",
            ),
            (
                "es",
                "Un vistazo a su plan",
                "Hola:\n\n¿cómo va todo? Revise su plan y cuéntenos qué ha cambiado:\n{{ portal }}\n\nSu equipo de atención\n",
            ),
        ],
    },
];
