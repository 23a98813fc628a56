"""The process that renders, one job after the other; the only part of the server that loads a model.

    main thread     opens the engine, tests it, takes orders, renders (`work`, `render`, `report`)
    listener        reads the socket: render and forget wait in line, cancel and save_and_stop act at once (`orders`)
    heartbeat       says each second that the process lives, also while a model loads

It ends with the socket, whatever it is doing: what it makes is in a folder that the server sweeps.
"""
