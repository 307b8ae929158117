// Written facts about invented people. Each has a question that shares no word of weight with it, and one
// that does: by the first, full text finds hardly anything, and by the second it should.

/** [fact, question in other words, question in its words] */
export const FACTS = {
  en: [
    [
      'I am allergic to peanuts.',
      'Which food must be kept off her plate?',
      'Is she allergic to anything, like peanuts?',
    ],
    ['My daughter Clara was born in March.', 'When is the birthday of her child?', 'When was Clara born?'],
    [
      'I work as a nurse at the children’s hospital.',
      'What does she do for a living?',
      'At which hospital is she a nurse?',
    ],
    ['We moved to Lisbon two years ago.', 'Which city is home now?', 'When did they move to Lisbon?'],
    ['I take the tram every morning.', 'How does he commute?', 'Does he take the tram in the morning?'],
    [
      'My brother plays the cello in an orchestra.',
      'Which musical instrument does a sibling perform on?',
      'Where does the brother play the cello?',
    ],
    ['I stopped eating meat last summer.', 'Is she a vegetarian?', 'When did she stop eating meat?'],
    ['Our dog is called Biscuit.', 'What is the name of the pet?', 'What is the dog called?'],
    ['I am afraid of heights.', 'Which phobia does he have?', 'Is he afraid of heights?'],
    ['The rent is due on the first of the month.', 'When must the landlord be paid?', 'When is the rent due?'],
    ['I prefer tea over coffee.', 'What drink should I offer to her?', 'Does she prefer tea or coffee?'],
    ['My car is a blue Volvo from 1998.', 'What vehicle does she drive?', 'How old is the blue Volvo?'],
    ['I am learning Portuguese with an app.', 'Which language is he studying?', 'With what is he learning Portuguese?'],
    ['My grandmother taught me how to knit.', 'Who showed her a handicraft?', 'Who taught her how to knit?'],
    ['I broke my left arm while skiing.', 'What injury happened in the snow?', 'Which arm did she break while skiing?'],
    [
      'The meeting with the bank is on Thursday.',
      'On which day is the appointment about the loan?',
      'When is the meeting with the bank?',
    ],
    [
      'I cannot sleep without an open window.',
      'What does he need at night for fresh air?',
      'Can he sleep without an open window?',
    ],
    ['My favourite author is Ursula Le Guin.', 'Whose books does she like best?', 'Who is the favourite author?'],
    [
      'I run ten kilometres every Sunday.',
      'What sport does he do at the weekend?',
      'How many kilometres does he run on Sunday?',
    ],
    ['My passport expires in October.', 'Until when can she travel abroad?', 'When does the passport expire?'],
    ['I am married to a pilot named Jonas.', 'What is the job of her husband?', 'To whom is she married?'],
    [
      'We keep the spare key under the flower pot.',
      'How can one get into the house without them?',
      'Where is the spare key?',
    ],
    ['I had surgery on my knee in 2019.', 'Which operation did the doctor do?', 'When was the surgery on the knee?'],
    ['My laptop runs Linux.', 'What operating system is on the computer?', 'Does the laptop run Linux?'],
    [
      'I owe my cousin two hundred euros.',
      'Does he have any debts in the family?',
      'How many euros does he owe the cousin?',
    ],
    ['I studied history in Edinburgh.', 'What was her subject at university?', 'Where did she study history?'],
    ['The wifi password is on the fridge.', 'How do guests get on the internet?', 'Where is the wifi password?'],
    ['I sold my flat in spring.', 'Does she still own the apartment?', 'When did she sell the flat?'],
    ['My son has asthma.', 'Is there a problem with the breathing of the boy?', 'Has the son asthma?'],
    ['I do the dishes and she cooks.', 'How is the housework shared?', 'Who does the dishes?'],
  ],
  de: [
    ['Ich bin gegen Erdnüsse allergisch.', 'Welches Essen verträgt sie nicht?', 'Ist sie gegen Erdnüsse allergisch?'],
    ['Meine Tochter kam im März zur Welt.', 'Wann hat das Kind Geburtstag?', 'Wann kam die Tochter zur Welt?'],
    [
      'Wir sind vor zwei Jahren nach Lissabon gezogen.',
      'In welcher Stadt leben sie?',
      'Wann sind sie nach Lissabon gezogen?',
    ],
    ['Unser Hund heißt Keks.', 'Wie nennt man das Haustier?', 'Wie heißt der Hund?'],
    ['Die Miete ist am Ersten fällig.', 'Wann bekommt der Vermieter sein Geld?', 'Wann ist die Miete fällig?'],
    ['Mein Auto ist ein blauer Volvo.', 'Welches Fahrzeug besitzt er?', 'Welche Farbe hat der Volvo, das Auto?'],
    ['Ich lerne Portugiesisch.', 'Mit welcher Sprache befasst sie sich?', 'Seit wann lernt sie Portugiesisch?'],
    ['Mein Pass läuft im Oktober ab.', 'Bis wann darf er ins Ausland reisen?', 'Wann läuft der Pass ab?'],
  ],
  fr: [
    [
      'Je suis allergique aux arachides.',
      'Quel aliment faut-il éviter pour elle ?',
      'Est-elle allergique aux arachides ?',
    ],
    ['Ma fille est née en mars.', 'Quand fête-t-on l’anniversaire de l’enfant ?', 'Quand sa fille est-elle née ?'],
    ['Nous avons déménagé à Lisbonne.', 'Dans quelle ville vivent-ils ?', 'Ont-ils déménagé à Lisbonne ?'],
    ['Notre chien s’appelle Biscuit.', 'Quel nom porte l’animal ?', 'Comment s’appelle le chien ?'],
    ['Le loyer est dû le premier du mois.', 'Quand faut-il payer le propriétaire ?', 'Quand le loyer est-il dû ?'],
    ['Ma voiture est une Volvo bleue.', 'Quel véhicule conduit-il ?', 'De quelle couleur est la voiture Volvo ?'],
    ['J’apprends le portugais.', 'Quelle langue étudie-t-elle ?', 'Apprend-elle le portugais ?'],
    ['Mon passeport expire en octobre.', 'Jusqu’à quand peut-il voyager ?', 'Quand expire le passeport ?'],
  ],
  es: [
    ['Soy alérgica a los cacahuetes.', '¿Qué comida hay que evitar?', '¿Es alérgica a los cacahuetes?'],
    ['Mi hija nació en marzo.', '¿Cuándo es el cumpleaños de la niña?', '¿Cuándo nació su hija?'],
    ['Nos mudamos a Lisboa hace dos años.', '¿En qué ciudad viven ahora?', '¿Cuándo se mudaron a Lisboa?'],
    ['Nuestro perro se llama Galleta.', '¿Qué nombre tiene la mascota?', '¿Cómo se llama el perro?'],
    ['El alquiler se paga el día uno.', '¿Cuándo cobra el casero?', '¿Qué día se paga el alquiler?'],
    ['Mi coche es un Volvo azul.', '¿Qué vehículo conduce?', '¿De qué color es el coche Volvo?'],
    ['Estoy aprendiendo portugués.', '¿Qué idioma estudia?', '¿Está aprendiendo portugués?'],
    ['Mi pasaporte caduca en octubre.', '¿Hasta cuándo puede viajar al extranjero?', '¿Cuándo caduca el pasaporte?'],
  ],
  ja: [
    [
      '私はピーナッツのアレルギーがあります。',
      '彼女が食べられないものは何ですか。',
      'ピーナッツのアレルギーはありますか。',
    ],
    ['娘は三月に生まれました。', '子どもの誕生日はいつですか。', '娘はいつ生まれましたか。'],
    ['二年前にリスボンへ引っ越しました。', '今どの町に住んでいますか。', 'いつリスボンへ引っ越しましたか。'],
    ['うちの犬の名前はビスケットです。', 'ペットを何と呼びますか。', '犬の名前は何ですか。'],
    ['家賃は毎月一日に払います。', '大家さんへの振込はいつですか。', '家賃はいつ払いますか。'],
    ['私の車は青いボルボです。', 'どんな乗り物を運転しますか。', '青いボルボの車は誰のですか。'],
    ['今ポルトガル語を習っています。', '何の言語を勉強していますか。', 'ポルトガル語を習っていますか。'],
    ['パスポートは十月に切れます。', 'いつまで海外旅行ができますか。', 'パスポートはいつ切れますか。'],
  ],
};

/**
 * What changes: [what holds first, what takes its place, the question, the time of the change]. The question
 * asks for what holds now.
 */
export const UPDATES = [
  ['I live in Oslo.', 'I live in Rome.', 'In which city does she live?', '2026-03-01T00:00:00.000Z'],
  ['I work for a bakery.', 'I work for a brewery.', 'Which company does she work for?', '2026-04-01T00:00:00.000Z'],
  ['I drive a red Fiat.', 'I drive a green Skoda.', 'Which car does she drive?', '2026-02-01T00:00:00.000Z'],
  [
    'My phone number ends with 17.',
    'My phone number ends with 42.',
    'How does the phone number end?',
    '2026-05-01T00:00:00.000Z',
  ],
  ['My doctor is Dr. Lindqvist.', 'My doctor is Dr. Okafor.', 'Who is the doctor?', '2026-06-01T00:00:00.000Z'],
  [
    'I go to the gym on Mondays.',
    'I go to the gym on Fridays.',
    'On which day does she go to the gym?',
    '2026-01-15T00:00:00.000Z',
  ],
  [
    'My manager is called Petra.',
    'My manager is called Ahmed.',
    'What is the manager called?',
    '2026-07-01T00:00:00.000Z',
  ],
  [
    'I am reading a novel about whales.',
    'I am reading a biography of Curie.',
    'What is she reading?',
    '2026-08-01T00:00:00.000Z',
  ],
];

/** Questions that several memories answer together. */
export const TOGETHER = [
  [
    'Which pets are in the house?',
    ['We have a cat named Olive.', 'We have a parrot named Kiwi.', 'The children have a hamster named Pip.'],
  ],
  [
    'Which trips did she make last year?',
    ['In May I made a trip to Vienna.', 'In August I made a trip to the Azores.'],
  ],
  [
    'What medicine does he take?',
    ['I take medicine for my blood pressure.', 'I take medicine against hay fever in spring.'],
  ],
  [
    'Who are her brothers and sisters?',
    ['My sister Ines lives in Porto.', 'My brother Rui lives in Braga.', 'My youngest sister is called Marta.'],
  ],
  ['Which instruments can she play?', ['I can play the piano.', 'I can play the flute a little.']],
  ['What does he collect?', ['I collect old stamps.', 'I collect maps of railways.']],
];
