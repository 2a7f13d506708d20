"""Invented names of companies for the training texts: no name leans to one label, and none is a known company's."""

_BEGINNINGS = (
    "Ald Amb And Arv Aur Bal Bar Bex Bran Bryn Cal Cam Car Cas Cel Chel Cor Cran Dal Dan Dar Del Den Dor Dun Ela Elm "
    "Eri Esk Fal Far Fen Fin Flor Gal Gar Gil Glen Gran Hal Har Haz Hel Hol Hux Ild Ing Isk Ival Jar Jul Kal Kar Kel "
    "Kin Kol Lan Lar Len Lin Lor Lun Mal Mar Mel Mer Mir Mor Nar Nel Nim Nor Oak Obr Ol Ond Orm Os Pad Pal Pen Per "
    "Pol Quen Quil Rad Ral Ren Rim Ros Ruth Sal San Sel Sev Sil Sol Stan Sul Tal Tam Tar Tel Ter Thorn Tol Tor Tren "
    "Ul Urs Val Van Var Ver Vil Vol Wal War Wen Wes Wil Wor Yar Yel Zan Zel Zor"
).split()
_ENDINGS = (
    "ace ada ador aine alis ane anta aris arra aven avia bourne brook bury by cote dale den don eda egra elle emar en "
    "era esta eva ford garth gate ham hurst ica ida igo ilon imar ina ione isto ivane ix lea ley lin lock low lyn mar "
    "mere mont more ney nova oda olis ona ora osa ova over quist rand rick ridge ros sea shaw stead stow tane tava "
    "thorpe ton tora tris ulo una ura usk valen vane vera via vik wall ware well wick win wood worth yra zen"
).split()
# Words of the guideline's examples, of real companies or of the language; a text must not lean on them.
_NOT = {
    "Andover", "Bradford", "Burberry", "Corona", "Dalton", "Denton", "Dorvik", "Elmore", "Finwick", "Hovden", "Halifax",
    "Kestra", "Marlin", "Marley", "Merlin", "Morton", "Norwood", "Norway", "Olan", "Orlund", "Oster", "Osterby",
    "Panera", "Penney", "Polaris", "Renova", "Roswell", "Salford", "Salix", "Sanofi", "Solaris", "Stanley", "Tarnbrook",
    "Telenor", "Valero", "Valeo", "Verizon", "Walmart", "Walton", "Warwick", "Wilton", "Wellstow", "Velmo", "Ambry",
    "Barton", "Marriott", "Nordbank", "Brixton", "Pells", "Ruvo", "Carmax", "Wilmar", "Sandisk", "Solvay", "Hologic",
    "Calix", "Camden", "Cadence", "Wesley", "Halley", "Marwell", "Lorenz", "Melrose", "Renwick", "Olympus", "Volvik",
    "Kellogg", "Linden", "Merrick", "Hamilton", "Colgate", "Garden", "Malden", "Delphi", "Marine", "Moretown", "Ulta",
    "Tarmac", "Carbury", "Cadbury", "Palace", "Pallet", "Solace", "Melody", "Karen", "Warren", "Harley", "Hollywood",
    "Malware", "Morwell", "Santander", "Persimmon", "Terex", "Belden", "Talwin", "Calwell", "Wellwood", "Norada", "Seven", "Yellow", "Holton", "Dunham", "Alden", "Wenham", "Barlow", "Harlow", "Marlow", "Balmoral",
    "Telegate", "Casino", "Lancaster", "Saline", "Marina", "Radical", "Baroda",
}


def _invent():
    words = []
    for number, beginning in enumerate(_BEGINNINGS):
        for step in range(5):
            word = beginning + _ENDINGS[(number * 17 + step * 23) % len(_ENDINGS)]
            if 5 <= len(word) <= 10 and word not in _NOT:
                words.append(word)
    return tuple(dict.fromkeys(words))


WORDS = _invent()
SECTORS = (
    "Air", "Bank", "Bau", "Biotech", "Brands", "Capital", "Cement", "Chemicals", "Cloud", "Devices", "Electric",
    "Energy", "Engineering", "Estates", "Finance", "Foods", "Gaming", "Group", "Health", "Holding", "Homes", "Hotels",
    "Industries", "Insurance", "Labs", "Logistics", "Marine", "Media", "Metals", "Mining", "Mobile", "Motors", "Oil",
    "Packaging", "Paper", "Pay", "Pharma", "Power", "Rail", "Retail", "Robotics", "Semiconductor", "Shipping",
    "Software", "Solar", "Stores", "Systems", "Telecom", "Textiles", "Therapeutics", "Tools", "Water",
)  # fmt: skip
FORMS = ("AB", "AG", "ASA", "AS", "BV", "Co", "Corp", "Inc", "Ltd", "NV", "Oy", "Oyj", "plc", "SA", "SpA")
