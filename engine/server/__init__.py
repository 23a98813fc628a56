"""`fantasyid-engine serve`: a video API over one machine that loses nothing.

    client -> app -> service -> store (SQLite) and files       what is promised is on disk before it is answered
                        |
                        v
                      pool -> one worker process a GPU         JSON lines over a socket; pictures and videos as files
                        |
                        v
                       hub -> whoever watches a job

Only `server.worker` imports torch; the front end starts in a second and answers while models load.
"""
