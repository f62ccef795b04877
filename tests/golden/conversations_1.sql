PRAGMA application_id = 1349280612;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE conversations (
                id TEXT PRIMARY KEY,
                title TEXT NOT NULL,
                created TEXT NOT NULL,
                changed TEXT NOT NULL,
                model TEXT NOT NULL,
                tokenizer TEXT NOT NULL,
                template TEXT NOT NULL,
                settings TEXT NOT NULL,
                system TEXT,
                leaf TEXT,
                FOREIGN KEY (id, leaf) REFERENCES messages (conversation, id)
                    DEFERRABLE INITIALLY DEFERRED
            );
INSERT INTO "conversations" VALUES('0000000000000000','Hello','2026-01-31T12:00:00.000250+00:00','2026-01-31T12:00:01.000250+00:00','small','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','roles','{"temperature": 0.7, "stop": ["\n"], "seed": null}','Rhyme.','cccccccccccccccc');
CREATE TABLE messages (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
                parent TEXT,
                role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
                text TEXT NOT NULL,
                created TEXT NOT NULL,
                source TEXT,
                step INTEGER,
                reason TEXT,
                prompt TEXT,
                seed TEXT,
                model TEXT,
                settings TEXT,
                UNIQUE (conversation, id),
                FOREIGN KEY (conversation, parent) REFERENCES messages (conversation, id)
                    ON DELETE CASCADE,
                FOREIGN KEY (conversation, source) REFERENCES messages (conversation, id)
            );
INSERT INTO "messages" VALUES(1,'qqqqqqqqqqqqqqqq','0000000000000000',NULL,'user','Hello','2026-01-31T12:00:00.000250+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(2,'aaaaaaaaaaaaaaaa','0000000000000000','qqqqqqqqqqqqqqqq','assistant','bc','2026-01-31T12:00:00.000251+00:00',NULL,NULL,'length','[1, 2, 3]','7','small','{"greedy": false}');
INSERT INTO "messages" VALUES(3,'bbbbbbbbbbbbbbbb','0000000000000000','qqqqqqqqqqqqqqqq','assistant','d','2026-01-31T12:00:00.000252+00:00','aaaaaaaaaaaaaaaa',NULL,NULL,'[1, 2, 3]','7','small','{"greedy": false}');
INSERT INTO "messages" VALUES(4,'cccccccccccccccc','0000000000000000','qqqqqqqqqqqqqqqq','assistant','be','2026-01-31T12:00:00.000253+00:00','aaaaaaaaaaaaaaaa',1,'stop token','[1, 2, 3]','7','small','{"greedy": false}');
INSERT INTO "messages" VALUES(5,'eeeeeeeeeeeeeeee','0000000000000000',NULL,'user','Hello, you [2J','2026-01-31T12:00:00.000254+00:00','qqqqqqqqqqqqqqqq',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL);
INSERT INTO "migrations" VALUES(1,'conversations, messages and tokens','2026-11-25T22:16:22+00:00');
CREATE TABLE tokens (
                message TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
                step INTEGER NOT NULL,
                id INTEGER NOT NULL,
                text TEXT NOT NULL,
                bytes BLOB NOT NULL,
                logprob REAL,
                alternatives TEXT NOT NULL,
                PRIMARY KEY (message, step)
            ) WITHOUT ROWID;
INSERT INTO "tokens" VALUES('aaaaaaaaaaaaaaaa',0,1,'b',X'62',-0.5,'[[1, "b", -0.5], [9, "⟨FF⟩", -7.25]]');
INSERT INTO "tokens" VALUES('aaaaaaaaaaaaaaaa',1,2,'c',X'63',-1.0,'[[2, "c", -1.0], [9, "⟨FF⟩", -7.25]]');
INSERT INTO "tokens" VALUES('bbbbbbbbbbbbbbbb',0,3,'d',X'64',-1.5,'[[3, "d", -1.5], [9, "⟨FF⟩", -7.25]]');
INSERT INTO "tokens" VALUES('cccccccccccccccc',0,1,'b',X'62',-0.5,'[[1, "b", -0.5], [9, "⟨FF⟩", -7.25]]');
INSERT INTO "tokens" VALUES('cccccccccccccccc',1,4,'e',X'65',-2.0,'[[4, "e", -2.0], [9, "⟨FF⟩", -7.25]]');
CREATE INDEX conversations_by_change ON conversations (changed, id);
CREATE INDEX messages_by_parent ON messages (conversation, parent);
CREATE INDEX messages_by_source ON messages (conversation, source);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',5);
COMMIT;
